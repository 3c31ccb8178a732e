//! The page in a browser: search, keyboard, tabs, details and colours, driven as a person would; and that the page keeps to
//! itself whatever it shows. Without a browser these tests say so and pass; `make browser-test` makes sure of one.

use std::env;
use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::chromium::Browser;
use super::fleet::{binding, fleet, pod, pool};
use crate::run::Folder;

/// The variable that names a folder for pictures of the page.
const PICTURES: &str = "KLEYM_PICTURES";

/// A page drawn from YAML.
struct Page {
    folder: Folder,
}

impl Page {
    fn of(yaml: &str) -> Self {
        let folder = Folder::with(&[("world.yaml", yaml)]);
        let answer = folder.kleym("graph -f world.yaml -o html --clusterspiffeid-class-name spire-spire");
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        folder.put("map.html", answer.out.as_bytes());
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("map.html")
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The names of the nodes that stand out.
const LIT: &str = "[...document.querySelectorAll('.node.on')].map((node) => node.querySelector('title').textContent).sort()";
/// The name of the node that has the focus.
const FOCUSED: &str = "(document.activeElement.querySelector('title') || {}).textContent || ''";
const DETAIL: &str =
    "document.getElementById('detail').hidden ? '' : document.querySelector('#detail h3').textContent";

#[test]
fn search_finds_nodes_and_rows_and_escape_gives_everything_back() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&Page::of(&fleet(80)).path());
    let rows = "document.querySelectorAll('#table tbody tr:not([hidden])').length";
    let regions = "[...document.querySelectorAll('#map .region')].filter((region) => !region.hidden).length";
    let all = browser.value(rows);

    browser.press(&["/"]);
    assert_eq!(browser.value("document.activeElement.id"), "search");
    browser.type_text("search qwen-chat");
    let lit = browser.value(LIT);
    assert!(texts(&lit).contains(&"qwen-chat"), "{lit}");
    assert_eq!(browser.value(regions), 1);
    let some = browser.value(rows);
    assert!(some.as_u64() > Some(0) && some.as_u64() < all.as_u64(), "{some} of {all}");
    assert!(browser.value("document.getElementById('said').textContent").as_str().unwrap().contains("match"));

    browser.press(&["Escape"]);
    assert_eq!(browser.value("document.getElementById('search').value"), "");
    assert_eq!(browser.value(rows), all);
    assert_eq!(browser.value(regions), 2);
    assert_eq!(browser.value(LIT), serde_json::json!([]));

    browser.type_text("no such thing");
    assert_eq!(browser.value(rows), 0);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_arrow_keys_walk_along_a_chain_and_enter_shows_details() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&Page::of(&fleet(5)).path());
    // One stop for the tab key, then arrows.
    assert_eq!(browser.value("document.querySelectorAll('.node[tabindex=\"0\"]').length"), 1);
    browser.value("document.querySelector('.node[tabindex=\"0\"]').focus()");
    let mut names = Vec::new();
    for _ in 0..6 {
        names.push(browser.value(FOCUSED).as_str().unwrap().to_owned());
        browser.press(&["ArrowRight"]);
    }
    assert_eq!(names[..3], ["llama", "llama-chat", "llama-chat"]);
    assert!(names[3].starts_with("kleym-llm-llama-chat-"), "{names:?}");
    assert_eq!(names[4], "llama");
    assert_eq!(names[5], "spiffe://kleym.sonda.red/ns/llm/objective/llama-chat");

    browser.press(&["Enter"]);
    assert_eq!(browser.value(DETAIL), "spiffe://kleym.sonda.red/ns/llm/objective/llama-chat");
    // The chain of the objective's identity leaves out the pool's, which the same container has as well.
    let lit = browser.value(LIT);
    assert!(texts(&lit).contains(&"llama-chat") && !texts(&lit).contains(&"llama-pool"), "{lit}");
    browser.press(&["Escape"]);
    assert_eq!(browser.value(DETAIL), "");
    assert_eq!(browser.value(LIT), serde_json::json!([]));
    browser.press(&["ArrowDown"]);
    assert_eq!(browser.value(FOCUSED), "spiffe://kleym.sonda.red/ns/llm/pool/llama");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn tabs_are_switched_by_key_and_by_click_and_a_cell_says_why() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&Page::of(&fleet(40)).path());
    let shown = "[...document.querySelectorAll('[role=tabpanel]')].filter((panel) => !panel.hidden).map((panel) => panel.id)";
    assert_eq!(browser.value(shown), serde_json::json!(["map"]));
    browser.value("document.getElementById('tab-map').focus()");
    browser.press(&["ArrowRight"]);
    assert_eq!(browser.value(shown), serde_json::json!(["overlap"]));
    assert_eq!(browser.value("document.activeElement.id"), "tab-overlap");

    browser.value("document.querySelector('button.cell.conflict').focus()");
    browser.press(&["Enter"]);
    let told = browser.value("document.getElementById('detail').textContent");
    assert!(told.as_str().unwrap().contains("comes first and holds it"), "{told}");
    browser.click("#detail li button");
    assert_eq!(browser.value(shown), serde_json::json!(["map"]));
    assert_eq!(browser.value(DETAIL), browser.value(FOCUSED));

    browser.click("#tab-overlap");
    assert_eq!(browser.value(shown), serde_json::json!(["overlap"]));
    let cell = "document.activeElement.getAttribute('aria-label')";
    browser.value("document.querySelector('button.cell[tabindex=\"0\"]').focus()");
    let first = browser.value(cell);
    browser.press(&["ArrowDown"]);
    assert_ne!(browser.value(cell), first);
    browser.press(&["ArrowUp"]);
    assert_eq!(browser.value(cell), first);
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn a_link_of_the_table_leads_into_the_picture() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&Page::of(&fleet(5)).path());
    browser.click("#table td[data-head=Binding] a");
    assert_eq!(browser.value(DETAIL), browser.value(FOCUSED));
    assert_ne!(browser.value(DETAIL), "");
    browser.click("#close");
    assert_eq!(browser.value(DETAIL), "");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn colours_follow_the_system_until_they_are_chosen() {
    let Some(mut browser) = Browser::start() else { return };
    let page = Page::of(&fleet(5));
    let ground = "getComputedStyle(document.body).backgroundColor";
    browser.window(1280, 800, false);
    browser.open(&page.path());
    let light = browser.value(ground);
    browser.window(1280, 800, true);
    let dark = browser.value(ground);
    assert_ne!(light, dark);
    browser.click("#theme");
    assert_eq!(browser.value(ground), light);
    assert_eq!(browser.value("document.getElementById('theme').getAttribute('aria-pressed')"), "false");
    browser.click("#theme");
    assert_eq!(browser.value(ground), dark);
}

#[test]
fn no_page_is_wider_than_its_window() {
    let Some(mut browser) = Browser::start() else { return };
    let page = Page::of(&fleet(50));
    for width in [360, 768, 1280, 2560] {
        browser.window(width, 900, false);
        browser.open(&page.path());
        let wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.value(wide), 0, "{width}");
    }
}

#[test]
fn hostile_texts_are_shown_and_nothing_more() {
    let Some(mut browser) = Browser::start() else { return };
    let hostile = [
        r#""><script>alert(1)</script>"#,
        r"</script><script>document.title='gone'</script>",
        r"</title><img src=x onerror=alert(1)>",
        r"' onmouseover='alert(1)",
        r"]]><!-- %3Cscript%3E ${alert(1)} `",
    ];
    let mut world =
        pool("llm", "llama", &["chat"]) + "---\n" + &binding("llm", "chat", "chat", "llama", None);
    for (number, text) in hostile.iter().enumerate() {
        let hostile = pod("llm", "llama", number, &["vllm"])
            .replace("name: vllm", &format!("name: {}", Value::from(*text)))
            .replace("registry.example/vllm:1.4", &Value::from(*text).to_string());
        world = world + "---\n" + &hostile;
    }
    browser.open(&Page::of(&world).path());
    assert_eq!(browser.value("document.title"), "Identity map \u{b7} kleym.sonda.red");
    assert_eq!(browser.value("document.querySelectorAll('img, iframe, [onerror], [onmouseover]').length"), 0);
    assert_eq!(browser.value("document.scripts.length"), 2);
    for text in hostile {
        let shown = browser.value(&format!("document.body.textContent.includes({})", Value::from(text)));
        assert_eq!(shown, true, "{text}");
    }
    browser.click(".node.pods");
    assert_ne!(browser.value(DETAIL), "");
    assert_eq!(browser.complaints(), [""; 0]);
}

#[test]
fn the_policy_of_the_page_stops_what_it_did_not_bring() {
    let Some(mut browser) = Browser::start() else { return };
    browser.open(&Page::of(&fleet(5)).path());
    let tried = "(() => { const script = document.createElement('script'); \
                 try { script.textContent = 'window.run = true'; document.head.append(script); } catch { return 'refused'; } \
                 return window.run ? 'run' : 'refused'; })()";
    assert_eq!(browser.value(tried), "refused");
    let fetched = "fetch('data:text/plain,x').then(() => 'answered', () => 'refused')";
    assert_eq!(browser.value(fetched), "refused");
    assert_ne!(browser.complaints(), [""; 0]);
}

/// Pictures for people to look at, when they ask for them.
#[test]
fn pictures_are_taken_where_they_are_asked_for() {
    let Some(folder) = env::var_os(PICTURES).map(PathBuf::from) else { return };
    let Some(mut browser) = Browser::start() else { return };
    fs::create_dir_all(&folder).unwrap();
    let take = |browser: &mut Browser, name: String| {
        let picture = STANDARD.decode(browser.picture()).unwrap();
        fs::write(folder.join(name), picture).unwrap();
    };
    for pods in [5, 50, 500] {
        let page = Page::of(&fleet(pods));
        fs::copy(page.path(), folder.join(format!("{pods}.html"))).unwrap();
        for (device, width, height) in [("desktop", 1440, 1000), ("phone", 390, 844)] {
            for (colours, dark) in [("light", false), ("dark", true)] {
                browser.window(width, height, dark);
                browser.open(&page.path());
                take(&mut browser, format!("{pods}-{device}-{colours}.png"));
                browser.click("#tab-overlap");
                take(&mut browser, format!("{pods}-{device}-{colours}-overlap.png"));
                browser.click("#tab-map");
                browser.click(".node.binding.refused, .node.binding");
                take(&mut browser, format!("{pods}-{device}-{colours}-detail.png"));
            }
        }
    }
}
