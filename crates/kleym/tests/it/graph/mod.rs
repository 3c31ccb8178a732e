//! `kleym graph`: what is drawn, in each language, and what a browser makes of it.

mod browser;
mod chromium;
mod fleet;

use insta::assert_snapshot;

use crate::run::at_the_root;

const EXAMPLES: &str = "graph -f examples/quickstart -f examples/conflict";

#[test]
fn a_map_is_a_mermaid_flowchart() {
    assert_snapshot!(at_the_root(EXAMPLES));
}

#[test]
fn a_map_is_a_dot_graph() {
    assert_snapshot!(at_the_root(&format!("{EXAMPLES} -o dot")));
}

#[test]
fn a_map_is_a_report_in_json() {
    assert_snapshot!(at_the_root(&format!("{EXAMPLES} -o json")));
}
