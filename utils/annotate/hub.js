// Keys, and whether what the person did is on disk. Every act goes to the program from here, and is answered here.
const SAVES = new Set(["label", "move", "nudge", "accept", "delete", "undo", "redo", "note"]);
const KEYS = {
  ArrowLeft: ["step", { frames: -1 }],
  ArrowRight: ["step", { frames: 1 }],
  "Shift+ArrowLeft": ["step", { seconds: -1 }],
  "Shift+ArrowRight": ["step", { seconds: 1 }],
  Home: ["step", { frames: -1e9 }],
  End: ["step", { frames: 1e9 }],
  n: ["next"],
  "[": ["jump", { by: -1 }],
  "]": ["jump", { by: 1 }],
  c: ["doubt"],
  a: ["nudge", { axis: 0, by: -0.05 }],
  d: ["nudge", { axis: 0, by: 0.05 }],
  s: ["nudge", { axis: 1, by: -0.05 }],
  w: ["nudge", { axis: 1, by: 0.05 }],
  "Shift+A": ["nudge", { axis: 0, by: -0.01 }],
  "Shift+D": ["nudge", { axis: 0, by: 0.01 }],
  "Shift+S": ["nudge", { axis: 1, by: -0.01 }],
  "Shift+W": ["nudge", { axis: 1, by: 0.01 }],
  Enter: ["accept"],
  Delete: ["delete"],
  Backspace: ["delete"],
  "Ctrl+z": ["undo"],
  "Ctrl+y": ["redo"],
  "Ctrl+Shift+Z": ["redo"],
  " ": ["play"],
  "?": ["help"],
  t: ["edit"],
};

export default {
  template: `<div class="status" :class="'status-' + kind" role="status" aria-live="polite">{{ text }}</div>`,
  data: () => ({ kind: "idle", text: "", count: 0, pending: new Map() }),
  mounted() {
    window.annotate = this;
    this.shown = null; // the frame that is on screen: a label is of what the person sees
    this.asked = null; // the frame that was asked for last, whose note stands below the plane
    document.addEventListener("keydown", this.key);
    document.addEventListener("mousedown", this.keepFocus);
    this.listen();
  },
  unmounted() {
    document.removeEventListener("keydown", this.key);
    document.removeEventListener("mousedown", this.keepFocus);
  },
  methods: {
    act(name, detail = {}) {
      if (name !== "note") document.activeElement?.closest(".note input")?.blur(); // a note first, then what follows
      if (!window.socket?.connected) return this.lost();
      const id = ++this.count;
      if (SAVES.has(name)) {
        this.pending.set(id, performance.now());
        this.say("saving", "Saving …");
      }
      this.$emit("act", { name, id, shown: this.shown, frame: this.asked, ...detail });
    },
    answer(id, ok, text) {
      const start = this.pending.get(id);
      this.pending.delete(id);
      this.say(ok ? "saved" : "failed", text);
      requestAnimationFrame(() => {
        this.took = performance.now() - start; // milliseconds from the act to the picture; benchmarks/annotate.py
        this.answered = (this.answered ?? 0) + 1;
      });
    },
    say(kind, text) {
      this.kind = kind;
      this.text = text;
    },
    lost() {
      const waiting = this.pending.size ? "Your last label is NOT known to be saved. " : "";
      this.say("failed", `${waiting}No connection to the program: nothing is saved until it is back.`);
      this.broken = true;
    },
    listen() {
      if (!window.socket) return setTimeout(this.listen, 20);
      window.socket.on("disconnect", this.lost);
      window.socket.on("connect", () => {
        if (this.broken && !this.pending.size) this.say("saved", "Connected again; what you see is on disk");
        this.broken = false;
      });
    },
    key(event) {
      const at = event.target;
      const writes = at.isContentEditable || at.tagName === "TEXTAREA" || (at.tagName === "INPUT" && at.type !== "range");
      if (writes && event.key === "Escape") return at.blur();
      if (writes || event.altKey || document.querySelector(".q-dialog, .q-menu")) return;
      if (at.closest("button, [role=combobox]") && (event.key === " " || event.key === "Enter")) return;
      const shift = event.shiftKey && event.key !== "?" ? "Shift+" : "";
      const found = KEYS[(event.ctrlKey || event.metaKey ? "Ctrl+" : "") + shift + event.key];
      if (!found) return;
      event.preventDefault();
      if (found[0] === "edit") return document.querySelector(".note input")?.focus();
      this.act(...found);
    },
    keepFocus(event) {
      if (event.target.closest("button, .plane")) event.preventDefault(); // so that Space still plays after a click
    },
  },
};
