//! The server over a real socket, with a controller that does what the test asks for.

mod bench;
mod deadlines;
mod ends;
mod faults;
mod logs;
mod pages;
