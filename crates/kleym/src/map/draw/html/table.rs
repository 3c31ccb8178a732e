//! The map as a table: what the picture shows, for whoever does not see it, and for paper.

use std::collections::BTreeMap;

use super::{Page, counted, text};
use crate::map::{Column, Link, Map, Region, Row, SERVED_IN, rows};

const HEADS: [&str; 9] =
    ["Namespace", "Pool", "Objective", "Binding", "Output", "Pods", "Container", "SPIFFE ID", "State"];

pub(super) fn table(page: &mut Page, map: &Map) {
    let regions: Vec<(usize, &Region, Vec<Row>)> =
        map.regions.iter().enumerate().map(|(number, region)| (number, region, rows(region))).collect();
    let count: usize = regions.iter().map(|(.., rows)| rows.len()).sum();
    page.put(format_args!(
        "<section class=\"list\" aria-labelledby=\"table-name\"><div class=\"bar\"><h2 id=\"table-name\">The same as a table</h2><p id=\"rows\">{}</p></div>\n\
         <div class=\"scroll\"><table id=\"table\" role=\"table\" tabindex=\"-1\"><caption class=\"unseen\">Who can be whom: from the pool to the SPIFFE ID</caption>\n<thead role=\"rowgroup\"><tr role=\"row\">",
        counted(count, "row", "rows")
    ));
    for head in HEADS {
        page.put(format_args!("<th role=\"columnheader\" scope=\"col\">{head}</th>"));
    }
    page.put("</tr></thead>\n<tbody role=\"rowgroup\">\n");
    for (number, region, rows) in &regions {
        let pools = region.nodes.iter().filter(|node| node.column == Column::Pool);
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        pools.for_each(|pool| *times.entry(&pool.name).or_default() += 1);
        for row in rows {
            one(page, *number, region, &times, row);
        }
    }
    page.put("</tbody></table></div></section>\n");
}

/// `times` says how many pools have a name.
fn one(page: &mut Page, number: usize, region: &Region, times: &BTreeMap<&str, usize>, row: &Row) {
    let link = row.link.map_or("none", Link::word);
    page.put(format_args!(
        "<tr role=\"row\" class=\"{link}\"><th role=\"rowheader\" scope=\"row\" data-head=\"Namespace\">{}</th>",
        text(&region.namespace)
    ));
    let nodes = |of: &mut dyn Iterator<Item = usize>| -> String {
        let links: Vec<String> = of
            .map(|node| format!("<a href=\"#r{number}n{node}\">{}</a>", breakable(&region.nodes[node].name)))
            .collect();
        links.join(", ")
    };
    // Of two pools of one name, which is which.
    let pools = row.pools.iter().map(|pool| {
        let node = &region.nodes[*pool];
        let link = nodes(&mut [*pool].into_iter());
        let group = node.facts.iter().find(|(what, _)| *what == SERVED_IN).map(|(_, group)| group);
        match group.filter(|_| times.get(node.name.as_str()).is_some_and(|times| *times > 1)) {
            Some(group) => format!("{link} <small>{}</small>", text(group)),
            None => link,
        }
    });
    let pools = pools.collect::<Vec<_>>().join(", ");
    let container = row.pods.zip(row.container).map(|(pods, container)| {
        let container = &region.nodes[pods].containers[container];
        let role = if container.role.is_empty() {
            String::new()
        } else {
            format!(" <small>{}</small>", container.role)
        };
        format!("{}{role}", text(&container.name))
    });
    let pods = row.pods.map(|pods| {
        let link = nodes(&mut [pods].into_iter());
        match region.nodes[pods].pods {
            0 | 1 => link,
            many => format!("{link} <small>\u{d7}{many}</small>"),
        }
    });
    let cells = [
        pools,
        nodes(&mut row.objectives.iter().copied()),
        nodes(&mut row.binding.into_iter()),
        nodes(&mut row.output.into_iter()),
        pods.unwrap_or_default(),
        container.unwrap_or_default(),
        nodes(&mut row.identity.into_iter()),
    ];
    for (head, cell) in HEADS[1..].iter().zip(cells) {
        let cell = if cell.is_empty() { "<span class=\"nil\">\u{2013}</span>".to_owned() } else { cell };
        page.put(format_args!("<td role=\"cell\" data-head=\"{head}\">{cell}</td>"));
    }
    let meaning = match (row.link, row.why.as_str()) {
        (None | Some(Link::Nothing), why) if !why.is_empty() => text(why).to_string(),
        (None, _) => String::new(),
        (Some(link), "") => link.word().to_owned(),
        (Some(link), why) => format!("<b>{}</b>: {}", link.word(), text(why)),
    };
    page.put(format_args!("<td role=\"cell\" data-head=\"State\" class=\"what\">{meaning}</td></tr>\n"));
}

/// A name that may go on in the next line behind a slash.
fn breakable(name: &str) -> String {
    let parts: Vec<String> = name.split_inclusive('/').map(|part| text(part).to_string()).collect();
    parts.join("<wbr>")
}
