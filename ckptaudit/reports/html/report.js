"use strict";
// Draws the trees when they are opened, and moves the diagrams. Every text goes into the page as text.
(() => {
  const CHUNK = 300; // children of one row that are drawn at once
  const FOUND = 200; // rows that a search shows
  const FIRST = 60; // rows that are open at first
  const MOST = 2000; // rows that "Open all" and printing open
  const KINDS = ["module", "tensor", "fold", "state-dict"]; // as tree.py numbers them
  // What a row holds, in this order; of some only the place in the list of words.
  const FIELDS = "parent kind name badge detail shape dtype device note share size parameters bytes anchor".split(" ");
  const WORDS = ["badge", "detail", "shape", "dtype", "device", "note", "share", "size"];
  const IS_WORD = FIELDS.map((name) => WORDS.includes(name));
  const SEVERITIES = ["", "note", "warning", "error"];
  const ZOOMS = { "+": 0.8, "=": 0.8, "-": 1.25 };
  const STEPS = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] };
  const collator = new Intl.Collator("en", { numeric: true });

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // What is too large for a number of JavaScript comes as text.
  const grouped = (number) =>
    number === null ? "" : typeof number === "number" ? number.toLocaleString("en-US") : number;

  class Tree {
    constructor(host) {
      this.host = host;
      this.prefix = host.dataset.prefix;
      this.rows = host.querySelector("[role=tree]");
      this.output = host.querySelector("output");
      this.search = host.querySelector("input");
      this.open = new Set();
      this.limits = new Map();
      this.sorted = new Map();
      this.typed = ""; // of a name, a moment ago
      this.read(JSON.parse(host.querySelector("script").textContent));
      this.openWhile(this.depth ? MOST : FIRST, this.depth || Infinity, "");
      this.draw();
      this.listen();
    }

    read(data) {
      Object.assign(this, { order: data.order, parameters: data.parameters, depth: data.depth, roots: [] });
      this.nodes = data.rows.map((row) => {
        const node = { children: [], tied: [], worst: 0 };
        row.forEach((value, place) => (node[FIELDS[place]] = IS_WORD[place] ? data.words[value] : value));
        node.kind = KINDS[node.kind];
        return node;
      });
      for (const node of this.nodes) {
        node.parent = node.parent < 0 ? null : this.nodes[node.parent];
        (node.parent ? node.parent.children : this.roots).push(node);
      }
      this.byAnchor = new Map(this.nodes.filter((node) => node.anchor).map((node) => [node.anchor, node]));
      this.devices = new Set(this.nodes.map((node) => node.device).filter(Boolean)).size;
      for (const group of data.ties) {
        for (const at of group) this.nodes[at].tied = group.filter((other) => other !== at);
      }
      for (const [anchor, [severity, finding]] of Object.entries(data.marks || {})) {
        let node = this.byAnchor.get(anchor);
        node.mark = { severity, finding };
        for (; node; node = node.parent) node.worst = Math.max(node.worst, SEVERITIES.indexOf(severity));
      }
    }

    path(node) {
      if (node.kind === "fold") return node.parent ? this.path(node.parent) : "";
      const above = node.parent && this.path(node.parent);
      return (node.whole ??= above ? `${above}.${node.name}` : node.name);
    }

    children(node) {
      const children = node ? node.children : this.roots;
      if (!this.sorted.has(node)) this.sorted.set(node, this.sort([...children], (each) => each.name));
      return this.sorted.get(node);
    }

    sort(nodes, name) {
      const bytes = (node) => (typeof node.bytes === "number" ? node.bytes : Number.MAX_VALUE);
      if (this.order === "name") nodes.sort((one, other) => collator.compare(name(one), name(other)));
      if (this.order === "size") nodes.sort((one, other) => bytes(other) - bytes(one));
      return nodes;
    }

    // Opens rows level by level while there is room. Blocks that are alike stay folded, or open the first of
    // them, or all; at first only one state dict is open.
    openWhile(room, depth, blocks) {
      let level = this.roots;
      room -= level.length;
      for (let number = 1; level.length && number < depth; number += 1) {
        const below = [];
        for (const node of level) {
          const { children } = node;
          const alike = node.kind === "fold" || node.badge;
          const aside = alike || (node.kind === "state-dict" && node !== this.roots[0]);
          if (!children.length || children.length > room || (aside && !blocks)) continue;
          room -= children.length;
          this.open.add(node);
          below.push(...(alike && blocks === "first" ? children.slice(0, 1) : children));
        }
        level = below;
      }
    }

    draw() {
      this.rows.replaceChildren(this.drawn(null, 1));
      this.rows.firstElementChild?.setAttribute("tabindex", "0");
    }

    // The rows below a node, or below none, and below those of them that are open.
    drawn(node, level, from = 0) {
      const into = document.createDocumentFragment();
      const children = this.children(node);
      const limit = this.limits.get(node) || CHUNK;
      for (let place = from; place < Math.min(limit, children.length); place += 1) {
        const child = children[place];
        into.append(this.row(child, level, place + 1, children.length));
        if (this.open.has(child)) into.append(this.drawn(child, level + 1));
      }
      if (limit < children.length) into.append(this.moreRow(node, level, children.length - limit));
      return into;
    }

    item(level, place, of) {
      const row = element("div", "row");
      Object.assign(row, { role: "treeitem", ariaLevel: level, ariaPosInSet: place, ariaSetSize: of, tabIndex: -1 });
      row.style.setProperty("--level", Math.min(level - 1, 12));
      return row;
    }

    row(node, level, place, of, found) {
      const row = this.item(level, place, of);
      row.node = node;
      if (node.anchor) row.id = `row-${this.prefix}${node.anchor}`;
      row.classList.add(node.kind);
      if (node.children.length && found === undefined) row.setAttribute("aria-expanded", this.open.has(node));
      row.append(
        this.nameCell(node, found),
        element("span", "shape", node.shape),
        element("span", "dtype", node.dtype),
        element("span", "parameters right", node.parameters === 0 && node.tied.length ? "" : grouped(node.parameters)),
        this.shareCell(node),
        element("span", "size right", node.size),
      );
      return row;
    }

    nameCell(node, found) {
      const cell = element("span", "name");
      cell.append(element("span", "twist"));
      const name = element("bdi", "label", found === undefined ? node.name : "");
      if (found !== undefined) {
        const [whole, at] = [this.path(node), this.path(node).toLowerCase().indexOf(found)];
        const [start, end] = at < 0 ? [0, 0] : [at, at + found.length];
        name.append(whole.slice(0, start), element("mark", "", whole.slice(start, end)), whole.slice(end));
      }
      cell.append(name);
      if (node.badge) cell.append(element("bdi", "badge", node.badge));
      if (node.detail) {
        const [layer, sure] = node.detail.split("  ");
        cell.append(element("bdi", "layer", layer));
        if (sure) cell.append(element("span", "sure", sure));
      }
      if (node.tied.length) {
        const other = this.nodes[node.tied[0]];
        const more = node.tied.length > 1 ? ` +${node.tied.length - 1}` : "";
        cell.append(this.link(`#row-${this.prefix}${other.anchor}`, "tie", `= ${this.path(other)}${more}`));
      }
      if (node.note) cell.append(element("bdi", "note", node.note));
      if (this.devices > 1 && node.device) cell.append(element("bdi", "note", node.device));
      if (node.mark) {
        const { severity, finding } = node.mark;
        cell.append(this.link(`#finding-${this.prefix}${finding}`, `mark ${severity}`, severity));
      } else if (node.worst) {
        cell.append(element("span", `dot ${SEVERITIES[node.worst]}`, `${SEVERITIES[node.worst]} below`));
      }
      return cell;
    }

    // Only the row that has the focus has its links in the order of tabs.
    link(target, className, text) {
      const link = element("a", className);
      link.setAttribute("href", target);
      link.setAttribute("tabindex", "-1");
      link.append(element("bdi", "", text));
      return link;
    }

    shareCell(node) {
      const cell = element("span", "share right");
      if (!node.share) return cell;
      const bar = element("span", "bar");
      bar.style.setProperty("--share", node.parameters / this.parameters || 0);
      cell.append(bar, element("span", "", node.share));
      return cell;
    }

    moreRow(node, level, rest) {
      const limit = this.limits.get(node) || CHUNK;
      const row = this.item(level, limit + 1, limit + rest);
      row.classList.add("more");
      row.append(element("span", "name", `${Math.min(rest, CHUNK)} more of ${grouped(rest)} not drawn yet`));
      row.more = () => {
        this.limits.set(node, limit + CHUNK);
        const drawn = this.drawn(node, level, limit);
        const first = drawn.firstElementChild;
        row.replaceWith(drawn);
        this.focus(first);
      };
      return row;
    }

    toggle(row) {
      const { node } = row;
      const level = Number(row.getAttribute("aria-level"));
      if (this.open.delete(node)) {
        while (Number(row.nextElementSibling?.getAttribute("aria-level")) > level) row.nextElementSibling.remove();
      } else {
        this.open.add(node);
        row.after(this.drawn(node, level + 1));
      }
      row.setAttribute("aria-expanded", this.open.has(node));
    }

    activate(row) {
      if (row.more) row.more();
      else if (this.search.value.trim()) this.reveal(row.node);
      else if (row.hasAttribute("aria-expanded")) this.toggle(row);
    }

    focus(row, options) {
      if (!row) return;
      for (const before of this.rows.querySelectorAll('[tabindex="0"]')) before.setAttribute("tabindex", "-1");
      this.rows.querySelector("[aria-selected]")?.removeAttribute("aria-selected");
      row.setAttribute("aria-selected", "true");
      for (const item of [row, ...row.querySelectorAll("a")]) item.setAttribute("tabindex", "0");
      row.focus(options);
    }

    reveal(node) {
      this.search.value = this.output.textContent = "";
      for (let below = node; below; below = below.parent) {
        const place = this.children(below.parent).indexOf(below);
        if (place >= (this.limits.get(below.parent) || CHUNK)) this.limits.set(below.parent, place + 1);
        if (below.parent) this.open.add(below.parent);
      }
      this.draw();
      const row = document.getElementById(`row-${this.prefix}${node.anchor}`);
      this.focus(row, { preventScroll: true });
      row.scrollIntoView({ block: "center" });
      row.classList.add("hit");
      row.addEventListener("animationend", () => row.classList.remove("hit"), { once: true });
    }

    find() {
      const wanted = this.search.value.trim().toLowerCase();
      this.output.textContent = "";
      if (!wanted) return this.draw();
      const text = (node) =>
        (node.text ??= [this.path(node), ...WORDS.map((name) => node[name])].join("\n").toLowerCase());
      const nodes = this.nodes.filter((node) => node.kind !== "fold");
      let found = nodes.filter((node) => text(node).includes(wanted));
      if (!found.length) found = nodes.filter((node) => wanted.split(/\s+/).every((term) => text(node).includes(term)));
      const shown = this.sort(found, (node) => this.path(node)).slice(0, FOUND);
      this.rows.replaceChildren(...shown.map((node, place) => this.row(node, 1, place + 1, found.length, wanted)));
      this.rows.firstElementChild?.setAttribute("tabindex", "0");
      const cut = found.length > FOUND ? `, the first ${FOUND} are shown` : "";
      this.output.textContent = `${grouped(found.length)} of ${grouped(nodes.length)} rows${cut}`;
    }

    listen() {
      const on = (selector, type, act) => this.host.querySelector(selector).addEventListener(type, act);
      const redrawn = (act) => (event) => {
        act(event);
        this.find();
      };
      this.host.querySelector("select").value = this.order;
      on("select", "change", redrawn((event) => {
        this.order = event.target.value;
        this.sorted.clear();
      }));
      on("[data-do=open]", "click", redrawn(() => this.openWhile(MOST, Infinity, "all")));
      on("[data-do=close]", "click", redrawn(() => this.open.clear()));
      on("input", "input", () => {
        clearTimeout(this.waiting);
        this.waiting = setTimeout(() => this.find(), 80);
      });
      on("input", "keydown", (event) => {
        if (!["Escape", "Enter", "ArrowDown"].includes(event.key)) return;
        event.preventDefault();
        if (event.key === "Escape") this.search.value = "";
        this.find();
        if (event.key !== "Escape") this.focus(this.rows.firstElementChild);
      });
      on("[role=tree]", "keydown", (event) => this.key(event));
      on("[role=tree]", "click", (event) => {
        const row = event.target.closest(".row");
        if (!row || event.target.closest("a") || String(getSelection())) return;
        this.focus(row, { preventScroll: true });
        this.activate(row);
      });
    }

    key(event) {
      const row = event.target.closest(".row");
      if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "Enter" && event.target.closest("a")) return;
      const expanded = row.getAttribute("aria-expanded");
      const moves = {
        ArrowDown: () => this.focus(row.nextElementSibling),
        ArrowUp: () => this.focus(row.previousElementSibling),
        Home: () => this.focus(this.rows.firstElementChild),
        End: () => this.focus(this.rows.lastElementChild),
        ArrowRight: () => (expanded === "false" ? this.toggle(row) : expanded && this.focus(row.nextElementSibling)),
        ArrowLeft: () => (expanded === "true" ? this.toggle(row) : this.focus(this.rowAbove(row))),
        Enter: () => this.activate(row),
        " ": () => this.activate(row),
        "*": () => this.openSiblings(row),
      };
      if (event.key in moves) moves[event.key]();
      else if (event.key.length === 1) this.goTo(row, event.key);
      else return;
      event.preventDefault();
    }

    rowAbove(row) {
      const level = row.getAttribute("aria-level");
      let above = row.previousElementSibling;
      while (above && Number(above.getAttribute("aria-level")) >= Number(level)) above = above.previousElementSibling;
      return above;
    }

    openSiblings(row) {
      for (const other of [...this.rows.children]) {
        const beside = other.node && other.node.parent === row.node?.parent;
        if (beside && other.getAttribute("aria-expanded") === "false") this.toggle(other);
      }
    }

    // Typing the beginning of a name goes to the next row of that name.
    goTo(row, letter) {
      clearTimeout(this.forget);
      this.forget = setTimeout(() => (this.typed = ""), 700);
      this.typed += letter.toLowerCase();
      const all = [...this.rows.children];
      const start = all.indexOf(row) + (this.typed.length === 1 ? 1 : 0);
      const rows = [...all.slice(start), ...all.slice(0, start)];
      this.focus(rows.find((other) => other.node?.name.toLowerCase().startsWith(this.typed)));
    }

    print(starts) {
      if (starts) this.before = new Set(this.open);
      else this.open = this.before;
      if (starts) this.openWhile(MOST, Infinity, "first");
      this.find();
    }
  }

  class Diagram {
    constructor(figure) {
      this.canvas = figure.querySelector(".canvas");
      this.svg = this.canvas.querySelector("svg");
      this.whole = this.svg.getAttribute("viewBox").split(/[\s,]+/).map(Number);
      for (const button of figure.querySelectorAll("button")) {
        button.addEventListener("click", () => this.act(button.dataset.do));
      }
      this.canvas.addEventListener("keydown", (event) => {
        if (!event.ctrlKey && !event.metaKey && !event.altKey && this.act(event.key)) event.preventDefault();
      });
      // The wheel scrolls the page until the diagram has been clicked: nobody should be caught in it.
      this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      this.canvas.addEventListener("pointerdown", (event) => this.drag(event));
      this.canvas.addEventListener("dragstart", (event) => event.preventDefault());
      addEventListener("resize", () => this.canvas.clientWidth === this.room || this.fit(true));
      figure.classList.add("moves");
      this.fit(true);
    }

    show() {
      this.svg.setAttribute("viewBox", this.view.map((number) => number.toFixed(2)).join(" "));
    }

    // Whole, and not larger than it was drawn (in points: 4 pixels for 3 of them). One that nobody could read
    // so is at first as wide as there is room, and begins at its top.
    fit(first) {
      const [x, y, width, height] = this.whole;
      const room = (this.room = this.canvas.clientWidth);
      const widest = Math.min(room / width, 4 / 3);
      let scale = Math.min(widest, (innerHeight * 0.85) / height);
      if (first && scale < 0.6) scale = widest;
      this.canvas.style.height = `${Math.max(160, Math.min(height * scale + 16, innerHeight * 0.85))}px`;
      const [wide, high] = [room / scale, this.canvas.clientHeight / scale];
      this.view = [x - (wide - width) / 2, y - Math.max(0, high - height) / 2, wide, high];
      this.show();
    }

    zoom(factor, x = 0.5, y = 0.5) {
      const [left, top, width, height] = this.view;
      const wide = Math.min(Math.max(width * factor, 20), this.whole[2] * 20 + 2000);
      const high = (height * wide) / width;
      this.view = [left + (width - wide) * x, top + (height - high) * y, wide, high];
      this.show();
    }

    move(right, down) {
      this.view[0] += right * this.view[2];
      this.view[1] += down * this.view[3];
      this.show();
    }

    act(what) {
      if (what in ZOOMS) this.zoom(ZOOMS[what]);
      else if (what in STEPS) this.move(...STEPS[what]);
      else if (what === "0") this.fit();
      else return false;
      return true;
    }

    print(starts) {
      if (starts) this.svg.setAttribute("viewBox", this.whole.join(" "));
      else this.show();
    }

    wheel(event) {
      if (!event.ctrlKey && !this.canvas.contains(document.activeElement)) return;
      event.preventDefault();
      const box = this.canvas.getBoundingClientRect();
      const factor = Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300)));
      this.zoom(factor, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
    }

    drag(start) {
      if (start.button !== 0) return;
      const from = [...this.view];
      let moved = false;
      const move = (event) => {
        const [x, y] = [event.clientX - start.clientX, event.clientY - start.clientY];
        if (!moved && Math.hypot(x, y) < 5) return;
        moved = true;
        this.canvas.classList.add("dragged");
        const scale = from[2] / this.canvas.clientWidth;
        this.view = [from[0] - x * scale, from[1] - y * scale, from[2], from[3]];
        this.show();
      };
      const over = new AbortController();
      const stop = () => {
        over.abort();
        this.canvas.classList.remove("dragged");
        // What ends a drag is no click on the link under it.
        const swallow = (event) => (event.preventDefault(), event.stopPropagation());
        if (moved) addEventListener("click", swallow, { capture: true, once: true });
        if (moved) setTimeout(() => removeEventListener("click", swallow, true), 0);
      };
      addEventListener("pointermove", move, over);
      for (const type of ["pointerup", "pointercancel"]) addEventListener(type, stop, over);
    }
  }

  const hosts = [...document.querySelectorAll(".tree[data-prefix]")];
  const trees = new Map();
  const treeOf = (host) => trees.get(host) || trees.set(host, new Tree(host)).get(host);

  const reveal = (hash) => {
    for (const host of hosts) {
      const start = `#row-${host.dataset.prefix}`;
      if (!hash.startsWith(start)) continue;
      // A part of the diagram can stand for some of a module: its row is the module's.
      const anchor = hash.slice(start.length).replace(/-(own|in|more)$/, "");
      const node = treeOf(host).byAnchor.get(anchor);
      if (node) treeOf(host).reveal(node);
      else if (/^(s-|loose)/.test(anchor)) host.scrollIntoView();
    }
  };

  const meet = (entries) => entries.forEach((entry) => entry.isIntersecting && treeOf(entry.target));
  const near = new IntersectionObserver(meet, { rootMargin: "800px" });
  hosts.forEach((host) => near.observe(host));
  const diagrams = [...document.querySelectorAll("figure.diagram")].map((figure) => new Diagram(figure));

  document.addEventListener("click", (event) => {
    const hash = event.target.closest("a")?.getAttribute("href");
    if (hash?.startsWith("#row-") && hash === location.hash) reveal(hash); // another one changes the hash
  });
  addEventListener("hashchange", () => reveal(location.hash));
  let folded = [];
  const print = (starts) => {
    hosts.forEach((host) => treeOf(host).print(starts));
    diagrams.forEach((diagram) => diagram.print(starts));
    if (starts) folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((details) => (details.open = starts));
  };
  addEventListener("beforeprint", () => print(true));
  addEventListener("afterprint", () => print(false));
  reveal(location.hash);
})();
