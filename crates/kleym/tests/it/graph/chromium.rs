//! A headless Chromium, driven over a pair of pipes by its own protocol: nothing listens on a port, and nothing is needed
//! beside the browser.

use std::collections::VecDeque;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::run::Folder;

/// The variable that names the browser, where it is not found by itself.
const BROWSER: &str = "KLEYM_BROWSER";
/// The variable that makes it a failure when there is no browser.
const REQUIRED: &str = "KLEYM_BROWSER_REQUIRED";
const NAMES: [&str; 6] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "chrome-headless-shell",
];

/// Where the browser is, if there is one.
fn program() -> Option<PathBuf> {
    if let Some(named) = env::var_os(BROWSER) {
        return Some(named.into());
    }
    let path = env::var_os("PATH")?;
    env::split_paths(&path).flat_map(|folder| NAMES.map(|name| folder.join(name))).find(|file| file.is_file())
}

/// A page in a browser.
pub(crate) struct Browser {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    session: String,
    last: u64,
    events: VecDeque<Value>,
    _profile: Folder,
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Browser {
    /// Starts one. Where there is none the answer is none, and it is said so, unless one is required.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            let required = env::var_os(REQUIRED).is_some_and(|value| !value.is_empty());
            assert!(!required, "no browser: install Chromium, or name one in {BROWSER}");
            eprintln!(
                "not tested in a browser: none was found; install Chromium or set {BROWSER}, or run `make browser-test`"
            );
            return None;
        };
        let profile = Folder::new();
        // The browser reads file descriptor 3 and writes 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null", "sh"])
            .arg(program)
            .args([
                "--headless=new",
                "--remote-debugging-pipe",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--hide-scrollbars",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let session = String::new();
        let events = VecDeque::new();
        let mut browser = Self { child, input, output, session, last: 0, events, _profile: profile };
        let page = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let target = page["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        browser.window(1280, 900, false);
        Some(browser)
    }

    /// Calls a method and waits for its result; what happens meanwhile is kept.
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.last += 1;
        let mut call = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            call["sessionId"] = self.session.clone().into();
        }
        let mut bytes = serde_json::to_vec(&call).unwrap();
        bytes.push(0);
        self.input.write_all(&bytes).unwrap();
        self.input.flush().unwrap();
        loop {
            let message = self.next();
            if message["id"] == self.last {
                assert!(message.get("error").is_none(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
            self.events.push_back(message);
        }
    }

    fn next(&mut self) -> Value {
        let mut bytes = Vec::new();
        let read = self.output.read_until(0, &mut bytes).unwrap();
        assert!(read > 0, "the browser is gone");
        bytes.pop();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Opens a file and waits until it is loaded.
    pub(crate) fn open(&mut self, file: &Path) {
        self.events.clear();
        self.call("Page.navigate", &json!({ "url": format!("file://{}", file.display()) }));
        loop {
            if self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
                return;
            }
            let message = self.next();
            self.events.push_back(message);
        }
    }

    /// The value of an expression.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Presses keys, one after the other: `/`, `ArrowDown`, `Enter`.
    pub(crate) fn press(&mut self, keys: &[&str]) {
        for key in keys {
            let text = match *key {
                "Enter" => "\r",
                key if key.chars().count() == 1 => key,
                _ => "",
            };
            let down = if text.is_empty() { "rawKeyDown" } else { "keyDown" };
            self.call(
                "Input.dispatchKeyEvent",
                &json!({ "type": down, "key": key, "code": key, "text": text }),
            );
            self.call("Input.dispatchKeyEvent", &json!({ "type": "keyUp", "key": key, "code": key }));
        }
    }

    /// Types text where the focus is.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Clicks into the middle of the first element that a selector names, of its first line when it has several.
    pub(crate) fn click(&mut self, selector: &str) {
        let script = format!(
            "(() => {{ const e = document.querySelector({}); e.scrollIntoView({{block: 'center'}}); const b = e.getClientRects()[0]; return [b.x + b.width / 2, b.y + Math.min(b.height / 2, 20)]; }})()",
            json!(selector)
        );
        let place = self.value(&script);
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Width, height and colours of the window; `phone` has a coarse pointer.
    pub(crate) fn window(&mut self, width: u32, height: u32, dark: bool) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// A picture of what is to be seen, base64.
    pub(crate) fn picture(&mut self) -> String {
        let answer = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        answer["data"].as_str().unwrap().to_owned()
    }

    /// Everything that the page complained of since it was opened: exceptions, messages, violations of its own policy;
    /// and every request but the one for the file itself.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // Whatever was under way has been answered once this is.
        self.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))");
        let complaints = self.events.iter().filter_map(|event| {
            let parameters = &event["params"];
            match event["method"].as_str()? {
                "Runtime.exceptionThrown"
                | "Runtime.consoleAPICalled"
                | "Log.entryAdded"
                | "Page.javascriptDialogOpening" => Some(event.to_string()),
                "Network.requestWillBeSent" if parameters["type"] != "Document" => {
                    Some(format!("request: {}", parameters["request"]["url"]))
                }
                _ => None,
            }
        });
        complaints.collect()
    }
}
