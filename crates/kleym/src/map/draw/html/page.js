"use strict";
// Searches, points out chains, shows details, switches tabs. Draws nothing: the page says everything without it.
// Text reaches the page through textContent alone.
(() => {
  const byId = (id) => document.getElementById(id);
  const main = document.querySelector("main");
  const data = JSON.parse(byId("data").textContent);
  const COLUMNS = ["pool", "objective", "binding", "output", "pods", "identity"];
  const FROM = 0, FROM_CONTAINER = 1, TO = 2, TO_CONTAINER = 3, LINK = 4, OF = 5, WHY = 6;

  // Every node, with its element, its edges and what can be searched in it.
  const nodes = new Map();
  data.regions.forEach((region, r) => {
    region.nodes.forEach((node, n) => {
      const element = byId(`r${r}n${n}`);
      const words = [region.n, node.t, node.l, node.s, ...node.f.map((fact) => fact[1]), ...node.k.flat()];
      nodes.set(element.id, { r, n, node, element, out: [], into: [], words: words.join(" ").toLowerCase() });
    });
    region.edges.forEach((edge, e) => {
      nodes.get(`r${r}n${edge[FROM]}`).out.push(e);
      nodes.get(`r${r}n${edge[TO]}`).into.push(e);
    });
  });
  const top = (of) => of.element.transform.baseVal.consolidate().matrix.f;
  const at = (r, n) => nodes.get(`r${r}n${n}`);
  // For walking with the arrow keys: of each column of each region, its nodes from top to bottom.
  const stacks = data.regions.map((_, r) => COLUMNS.map((column) =>
    [...nodes.values()].filter((of) => of.r === r && of.node.c === column).sort((a, b) => top(a) - top(b))));

  // The nodes and edges on any way through a node. A way through a container goes on with the same output.
  function chain(start, found) {
    const { r, n } = start;
    const edges = data.regions[r].edges;
    const walk = (node, container, of, forward) => {
      const here = at(r, node);
      for (const e of forward ? here.out : here.into) {
        const edge = edges[e];
        const [mine, next, nextContainer] = forward
          ? [edge[FROM_CONTAINER], edge[TO], edge[TO_CONTAINER]]
          : [edge[TO_CONTAINER], edge[FROM], edge[FROM_CONTAINER]];
        const elsewhere = container >= 0 && mine >= 0 && mine !== container;
        const other = of >= 0 && edge[OF] >= 0 && edge[OF] !== of;
        const seen = `${forward ? ">" : "<"}${e}`;
        if (elsewhere || other || found.walked.has(`r${r}${seen}`)) continue;
        if (edge[LINK] === "conflict" && node !== n) continue;
        found.walked.add(`r${r}${seen}`);
        found.on.add(`r${r}e${e}`).add(`r${r}n${next}`);
        if (edge[LINK] !== "conflict") walk(next, nextContainer, edge[OF], forward);
      }
    };
    found.on.add(start.element.id);
    walk(n, -1, -1, true);
    walk(n, -1, -1, false);
  }

  function light(starts) {
    const found = { on: new Set(), walked: new Set() };
    starts.forEach((start) => chain(start, found));
    main.classList.toggle("dim", starts.length > 0);
    document.querySelectorAll(".on").forEach((element) => element.classList.remove("on"));
    found.on.forEach((id) => byId(id).classList.add("on"));
  }

  // Details
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };
  const SENTENCES = new Set(["why", "what to do", "state", "ignored", "fallback", "refused"]);

  function detail(of) {
    const { node, r } = of;
    const body = byId("detail-body");
    const tag = make("p", undefined, `tag ${node.s}`);
    tag.append(`${node.c === "identity" ? "SPIFFE ID" : node.c} · `, make("b", node.s), ` · namespace ${data.regions[r].n}`);
    const list = make("dl");
    let last;
    const fact = (what, value) => {
      list.append(make("dt", what === last ? "" : what), make("dd", value, SENTENCES.has(what) ? "words" : undefined));
      last = what;
    };
    node.f.forEach(([what, value]) => fact(what, value));
    node.k.forEach(([name, role, image]) => fact("containers", [name, role && `(${role})`, image].filter(Boolean).join(" ")));
    const head = make("div");
    head.append(tag, make("h3", node.t), list);
    body.replaceChildren(head, beside(of, of.into, FROM, "Comes from"), beside(of, of.out, TO, "Leads to"));
    byId("detail").scrollTop = 0;
    byId("detail").hidden = false;
  }

  function beside(of, edges, end, heading) {
    const list = make("ul");
    for (const e of edges) {
      const edge = data.regions[of.r].edges[e];
      const other = at(of.r, edge[end]);
      const container = edge[FROM_CONTAINER] >= 0 ? at(of.r, edge[FROM]).node.k[edge[FROM_CONTAINER]]
        : edge[TO_CONTAINER] >= 0 ? at(of.r, edge[TO]).node.k[edge[TO_CONTAINER]] : undefined;
      const item = make("li");
      const button = make("button", other.node.t);
      button.type = "button";
      button.addEventListener("click", () => select(other, true));
      item.append(button);
      const words = [container && `container ${container[0]}`, edge[LINK] !== "granted" && edge[LINK], edge[WHY]];
      const text = words.filter(Boolean).join(": ");
      if (text) item.append(make("span", text));
      list.append(item);
    }
    const part = make("div");
    if (list.children.length > 0) part.append(make("h4", heading), list);
    return part;
  }

  // Selection
  let selected = null;
  function select(of, move) {
    press(null);
    selected = of;
    of.element.setAttribute("aria-pressed", "true");
    light([of]);
    detail(of);
    reach(of, move);
    if (!move) of.element.scrollIntoView({ block: "nearest", inline: "nearest" });
    say(`${of.node.c} ${of.node.t}, ${of.node.s}: details are open, Escape closes them`);
  }
  function reach(of, move) {
    document.querySelectorAll('.node[tabindex="0"]').forEach((element) => element.setAttribute("tabindex", "-1"));
    of.element.setAttribute("tabindex", "0");
    if (move) {
      show("map");
      of.element.scrollIntoView({ block: "center", inline: "nearest" });
      of.element.focus({ preventScroll: true });
    }
  }
  function press(element) {
    document.querySelectorAll('[aria-pressed="true"]:not(#theme)').forEach((old) => old.setAttribute("aria-pressed", "false"));
    if (element) element.setAttribute("aria-pressed", "true");
  }
  function clear() {
    press(null);
    selected = null;
    byId("detail").hidden = true;
    find();
  }
  const say = (text) => { byId("said").textContent = text; };

  // Search: every word must be found in a node; its chain stays lit, and the table keeps the rows that speak of it.
  const search = byId("search");
  const rows = [...document.querySelectorAll("#table tbody tr")].map((row) => ({
    row,
    words: row.textContent.toLowerCase(),
    of: [...row.querySelectorAll("a")].map((link) => link.getAttribute("href").slice(1)),
  }));
  const rowCount = byId("rows").textContent;
  const groups = [...document.querySelectorAll("#overlap .region")];
  function find() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (text) => words.every((word) => text.includes(word));
    document.querySelectorAll(".hit").forEach((element) => element.classList.remove("hit"));
    const hits = words.length > 0 ? [...nodes.values()].filter((of) => has(of.words)) : [];
    const ids = new Set(hits.map((of) => of.element.id));
    hits.forEach((of) => of.element.classList.add("hit"));
    light(hits);
    main.classList.toggle("dim", words.length > 0);
    data.regions.forEach((_, r) => {
      byId(`r${r}`).hidden = words.length > 0 && !hits.some((of) => of.r === r);
    });
    let shown = 0;
    for (const { row, words: text, of } of rows) {
      row.hidden = words.length > 0 && !has(text) && !of.some((id) => ids.has(id));
      if (!row.hidden) shown += 1;
    }
    groups.forEach((group) => { group.hidden = words.length > 0 && !has(group.textContent.toLowerCase()); });
    byId("rows").textContent = words.length > 0 ? `${shown} of ${rowCount}` : rowCount;
    if (words.length > 0) say(`${hits.length} in the map and ${shown} rows of the table match`);
  }
  search.addEventListener("input", () => {
    press(null);
    selected = null;
    byId("detail").hidden = true;
    find();
  });

  // Tabs
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  function show(panel) {
    for (const tab of tabs) {
      const own = tab.getAttribute("aria-controls");
      tab.setAttribute("aria-selected", String(own === panel));
      tab.tabIndex = own === panel ? 0 : -1;
      byId(own).hidden = own !== panel;
    }
  }
  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => show(tab.getAttribute("aria-controls")));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(place + step + tabs.length) % tabs.length];
      show(next.getAttribute("aria-controls"));
      next.focus();
      event.preventDefault();
    });
  });

  // Pointer
  document.addEventListener("click", (event) => {
    const node = event.target.closest(".node");
    const link = event.target.closest('a[href^="#r"]');
    const cell = event.target.closest("button.cell");
    if (node) {
      const of = nodes.get(node.id);
      if (of === selected) clear(); else select(of, false);
    } else if (link) {
      event.preventDefault();
      select(nodes.get(link.getAttribute("href").slice(1)), true);
    } else if (cell) {
      pair(cell);
    } else if (event.target.closest("#close") || event.target.closest(".picture")) {
      clear();
    }
  });

  // A cell of the matrix
  function pair(cell) {
    press(cell);
    const table = cell.closest("table");
    const r = Number(table.id.slice(1));
    const body = byId("detail-body");
    // No name of a binding holds a colon or a blank.
    const [title, ...why] = cell.getAttribute("aria-label").split(": ");
    const sentence = why.join(": ");
    const head = make("div");
    head.append(make("p", `two bindings · namespace ${data.regions[r].n}`, "tag"), make("h3", title), make("p", sentence));
    const both = title.split(" and ");
    const list = make("ul");
    for (const of of nodes.values()) {
      if (of.r !== r || of.node.c !== "binding" || !both.includes(of.node.t)) continue;
      const item = make("li");
      const button = make("button", of.node.t);
      button.type = "button";
      button.addEventListener("click", () => select(of, true));
      item.append(button);
      list.append(item);
    }
    const part = make("div");
    part.append(make("h4", "Show in the map"), list);
    body.replaceChildren(head, part);
    byId("detail").hidden = false;
    say(sentence);
  }
  document.addEventListener("mouseover", (event) => {
    const cell = event.target.closest("button.cell");
    if (cell && !cell.title) cell.title = cell.getAttribute("aria-label");
  });
  document.querySelectorAll(".matrix").forEach((table) => {
    const first = table.querySelector("button.cell");
    if (first) first.tabIndex = 0;
  });

  // Keyboard
  const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input");
    if (event.key === "/" && !typing) {
      search.focus();
      search.select();
      event.preventDefault();
    } else if (event.key === "Escape") {
      if (typing) search.value = "";
      const back = selected;
      clear();
      if (back) back.element.focus({ preventScroll: true });
    } else if (event.target.closest(".node")) {
      walkNodes(event, nodes.get(event.target.closest(".node").id));
    } else if (event.target.closest("button.cell") && ARROWS[event.key]) {
      walkCells(event, event.target.closest("button.cell"));
    }
  });

  function walkNodes(event, of) {
    if (event.key === "Enter" || event.key === " ") {
      if (of === selected) clear(); else select(of, false);
      event.preventDefault();
      return;
    }
    const arrow = ARROWS[event.key];
    let next;
    if (arrow && arrow[0]) next = above(of, arrow[0]);
    else if (arrow) next = across(of, arrow[1]);
    else if (event.key === "Home" || event.key === "End") {
      next = stacks[of.r][COLUMNS.indexOf(of.node.c)].at(event.key === "Home" ? 0 : -1);
    }
    if (arrow || next) event.preventDefault();
    if (next) {
      reach(next, false);
      next.element.focus({ preventScroll: true });
      next.element.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }
  // The next one in the column; behind the last one, the first of the next namespace that has any.
  function above(of, step) {
    const column = COLUMNS.indexOf(of.node.c);
    const stack = stacks[of.r][column];
    const next = stack[stack.indexOf(of) + step];
    if (next) return next;
    for (let r = of.r + step; stacks[r]; r += step) {
      if (stacks[r][column].length > 0 && !byId(`r${r}`).hidden) return stacks[r][column].at(step > 0 ? 0 : -1);
    }
    return undefined;
  }
  // The uppermost neighbour to that side, of granted ones if there are any; without one, the nearest in the next column
  // that has any.
  function across(of, step) {
    const edges = data.regions[of.r].edges;
    const all = (step > 0 ? of.out : of.into).filter((e) => edges[e][LINK] !== "conflict");
    const granted = all.filter((e) => edges[e][LINK] === "granted");
    const near = (granted.length > 0 ? granted : all).map((e) => at(of.r, edges[e][step > 0 ? TO : FROM]));
    if (near.length > 0) return near.reduce((best, other) => (top(other) < top(best) ? other : best));
    for (let c = COLUMNS.indexOf(of.node.c) + step; c >= 0 && c < COLUMNS.length; c += step) {
      const stack = stacks[of.r][c];
      if (stack.length > 0) {
        return stack.reduce((best, other) => (Math.abs(top(other) - top(of)) < Math.abs(top(best) - top(of)) ? other : best));
      }
    }
    return undefined;
  }
  function walkCells(event, cell) {
    const [down, right] = ARROWS[event.key];
    const own = cell.closest("td");
    const row = own.parentElement;
    const next = right
      ? row.cells[own.cellIndex + right]
      : row.parentElement.rows[row.sectionRowIndex + down] && row.parentElement.rows[row.sectionRowIndex + down].cells[own.cellIndex];
    const button = next && next.querySelector("button.cell");
    if (button) {
      cell.tabIndex = -1;
      button.tabIndex = 0;
      button.focus();
    }
    event.preventDefault();
  }

  // What is folded is on paper, too.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((more) => { more.open = true; }));

  // Colours
  const theme = byId("theme");
  const wantsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (wantsDark.matches ? "dark" : "light")) === "dark";
  const told = () => theme.setAttribute("aria-pressed", String(isDark()));
  theme.addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    told();
  });
  wantsDark.addEventListener("change", told);
  told();

  const first = stacks.flat(2)[0];
  if (first) first.element.setAttribute("tabindex", "0");
  show(location.hash === "#overlap" ? "overlap" : "map");
  const linked = nodes.get(location.hash.slice(1));
  if (linked) select(linked, true);
})();
