{{/*
The driver's image. `driverImage` decides, if it is not the default; then `image`, if its last part
names this driver's image. Images of the driver that this one replaces are taken as not set, at the
places where it is published. Anywhere else nobody can say what the image holds, so the render
fails: a pod that runs the other program with our arguments would come up nowhere.
*/}}
{{- define "ebs.image" -}}
{{- $default := .Values.setup.defaults.driverImage.repository -}}
{{- $own := .Values.driverImage.repository | default $default -}}
{{- $tag := .Values.driverImage.tag | default (.Chart.AppVersion | toString) | toString -}}
{{- $other := printf "%s%s" (.Values.image.containerRegistry | default "") (.Values.image.repository | default "") -}}
{{- if and (eq $own $default) .Values.image.repository (not (include "ebs.isReplaced" $other)) -}}
{{- if ne (base $other) "aws-csi-driver" -}}
{{- fail (printf "image.repository is %s, which is neither this driver's image nor a known place of the driver that it replaces. Push this driver's image to a registry and set driverImage.repository (and driverImage.tag)." $other) -}}
{{- end -}}
{{- $own = $other -}}
{{- $tag = .Values.image.tag | default $tag | toString -}}
{{- end -}}
{{- if .Values.driverImage.digest -}}
{{- printf "%s@%s" $own .Values.driverImage.digest -}}
{{- else -}}
{{- printf "%s:%s" $own $tag -}}
{{- end -}}
{{- end -}}

{{/* "true" for a published image of the driver that this one replaces. The registries with numbers are those of EKS. */}}
{{- define "ebs.isReplaced" -}}
{{- $eks := "(013241004608|066635153087|151742754352|296578399912|455263428931|491585149902|558608220178|590381155156|602401143452|730335286997|759879836304|761377655185|800184023465|877085696533|900612956339|900889452093|918309763551|961992271922)\\.dkr\\.ecr(-fips)?\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/eks" -}}
{{- $places := printf "^(public\\.ecr\\.aws/ebs-csi-driver|%s|registry\\.k8s\\.io/provider-aws|k8s\\.gcr\\.io/provider-aws|((index\\.)?docker\\.io/)?amazon)/aws-ebs-csi-driver$" $eks -}}
{{- if regexMatch $places . -}}
true
{{- end -}}
{{- end -}}

{{/*
The image of a sidecar, by the list (root, name). At the places where the sidecars are published a
tag that is older than the built-in one is raised to it. A mirror is taken as it is.
*/}}
{{- define "ebs.sidecarImage" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- $own := (index $root.Values.setup.defaults.sidecars $name).image -}}
{{- $set := (index $root.Values.sidecars $name).image | default $own -}}
{{- $repository := $set.repository | default $own.repository -}}
{{- $tag := $set.tag | default $own.tag | toString -}}
{{- $full := printf "%s%s" ($root.Values.image.containerRegistry | default "") $repository -}}
{{- if and (include "ebs.isPublishedSidecar" $full) (include "ebs.isOlder" (list $tag $own.tag)) -}}
{{- printf "%s:%s" $own.repository $own.tag -}}
{{- else -}}
{{- printf "%s:%s" $full $tag -}}
{{- end -}}
{{- end -}}

{{- define "ebs.isPublishedSidecar" -}}
{{- if regexMatch "^(public\\.ecr\\.aws/(csi-components|eks-distro/kubernetes-csi|ebs-csi-driver)|registry\\.k8s\\.io/sig-storage|k8s\\.gcr\\.io/sig-storage|quay\\.io/k8scsi)/" . -}}
true
{{- end -}}
{{- end -}}

{{/* "true" if the first version of the list is older than the second, builds (v1.2.3-eksbuild.4) included. */}}
{{- define "ebs.isOlder" -}}
{{- $version := "^v?[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$" -}}
{{- $is := index . 0 -}}
{{- if regexMatch $version $is -}}
{{- $is = semver $is -}}
{{- $needed := semver (index . 1) -}}
{{- $isRelease := semver (printf "%d.%d.%d" $is.Major $is.Minor $is.Patch) -}}
{{- $neededRelease := semver (printf "%d.%d.%d" $needed.Major $needed.Minor $needed.Patch) -}}
{{- /* A tag without a build is not older than the same version with one. */ -}}
{{- if lt ($isRelease.Compare $neededRelease) 0 -}}
true
{{- else if and (eq ($isRelease.Compare $neededRelease) 0) $is.Prerelease (lt ($is.Compare $needed) 0) -}}
true
{{- end -}}
{{- end -}}
{{- end -}}
