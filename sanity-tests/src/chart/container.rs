//! A container of a rendered pod.

use serde_json::Value;

/// A container of a rendered pod.
#[derive(Debug, Clone, PartialEq)]
pub struct Container(Value);

fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

impl Container {
    pub(super) fn new(value: &Value) -> Self {
        Self(value.clone())
    }

    /// The value at a JSON pointer; null if there is none.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.at("/name").as_str().unwrap_or_default()
    }

    /// Its image.
    #[must_use]
    pub fn image(&self) -> &str {
        self.at("/image").as_str().unwrap_or_default()
    }

    /// Its arguments.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        texts(self.at("/args"))
    }

    /// Its program with its arguments, and every command that kubelet runs in it.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<String>> {
        let mut all = vec![[texts(self.at("/command")), self.args()].concat()];
        for place in ["livenessProbe", "readinessProbe", "startupProbe", "lifecycle/preStop"] {
            let command = texts(self.at(&format!("/{place}/exec/command")));
            if !command.is_empty() {
                all.push(command);
            }
        }
        all
    }

    /// Names of its environment variables.
    #[must_use]
    pub fn env(&self) -> Vec<String> {
        let list = self.at("/env").as_array();
        let names = list.into_iter().flatten().filter_map(|one| one["name"].as_str());
        names.map(str::to_owned).collect()
    }
}
