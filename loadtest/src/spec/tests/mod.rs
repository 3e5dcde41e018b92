//! Tests of scenarios and faults.

mod faults;
mod scenarios;
