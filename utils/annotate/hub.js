// The status line. It handles the keys, sends every action to the program, and shows whether labels are on disk.
const VISITED = "annotate_visited=1"; // cookie

export default {
  template: `<div class="status" :class="'status-' + kind" role="status" aria-live="polite">{{ text }}</div>`,
  props: {
    keys: Object, // key → action, from actions.py
    changes: Array, // names of the actions that change labels
    frameChanges: Array, // those that label the frame on screen
    moves: Array, // names of the actions that show another frame
    views: Array, // names of the actions that show another view
    local: Array, // names of the actions that the browser performs itself
  },
  data: () => ({ kind: "idle", text: "", count: 0, pending: new Map() }),
  mounted() {
    window.annotate = this;
    this.shownFrame = null; // the frame on screen: a label is given to the frame that the person sees
    this.requestedFrame = null; // the frame that was requested last: the note below the plane belongs to it
    this.answerCount = 0;
    document.getElementById("q-loading-bar")?.remove(); // It has no name for screen readers, and shows nothing of use.
    document.addEventListener("keydown", this.onKey);
    document.addEventListener("mousedown", this.keepFocus);
    document.addEventListener("focusin", this.pauseToWrite);
    this.listen();
  },
  unmounted() {
    document.removeEventListener("keydown", this.onKey);
    document.removeEventListener("mousedown", this.keepFocus);
    document.removeEventListener("focusin", this.pauseToWrite);
  },
  methods: {
    // What a button or key does.
    perform({ name, ...detail }) {
      if (name === "focus_note") return document.querySelector(".note input")?.focus();
      if (name === "nudge" && this.rating?.active) return this.rating.nudge(detail);
      if (this.local.includes(name)) return (this.player[name] ?? this.rating[name])();
      this.lookAtNext = name.startsWith("next_") && this.player?.lookFirst;
      this.send(name, detail);
    },
    // Returns the number of the action; undefined: it was not sent.
    send(name, detail = {}) {
      if (!this.makeReady(name)) return;
      if (name !== "note") document.activeElement?.closest(".note input")?.blur(); // sends a changed note first
      if (!window.socket?.connected) {
        this.onDisconnect();
        return;
      }
      if (this.rating?.waiting) this.rating.stop();
      const id = ++this.count;
      if (this.changes.includes(name)) {
        this.pending.set(id, performance.now());
        this.setStatus("saving", "Saving …");
      }
      const frames = { shown: this.shownFrame, requested: this.requestedFrame };
      this.$emit("action", { name, id, ...frames, ...detail });
      return id;
    },
    // Stops what is playing before another action; a frame is labelled only when it stands still.
    makeReady(name) {
      const { player } = this;
      const stops = [this.changes, this.moves, this.views].some((names) => names.includes(name));
      if (!player?.mode || name === "rate" || !stops) return true;
      if (player.mode === "look") player.finishLook();
      else if (this.frameChanges.includes(name)) {
        player.pause();
        this.setStatus("idle", "Paused. Label the frame that is shown now.");
        return false;
      } else if (this.views.includes(name)) player.pause(); // Nothing else would show the frame where it stops.
      else player.stop();
      return true;
    },
    answer(id, saved, text) {
      const start = this.pending.get(id);
      this.pending.delete(id);
      this.rating?.answered(id);
      this.setStatus(saved ? "saved" : "failed", text);
      if (!saved && this.rating?.recording) this.player.stop();
      requestAnimationFrame(() => {
        this.latency = performance.now() - start; // milliseconds until the result is drawn, for benchmarks/annotate.py
        this.answerCount++;
      });
    },
    setStatus(kind, text) {
      this.kind = kind;
      this.text = text;
    },
    onDisconnect() {
      const pending = this.pending.size ? "Your last label may NOT be saved. " : "";
      this.setStatus("failed", `${pending}No connection to the program. Nothing is saved until it is back.`);
      this.disconnected = true;
      if (this.player?.mode) this.player.stop();
    },
    // A cookie, since local storage is kept apart for each port, and the port changes.
    welcome() {
      if (document.cookie.includes(VISITED)) return;
      document.cookie = `${VISITED}; max-age=31536000; path=/; SameSite=Strict`;
      this.send("welcome");
    },
    listen() {
      if (!window.socket) return setTimeout(this.listen, 20);
      if (window.socket.connected) this.welcome();
      else window.socket.once("connect", this.welcome);
      window.socket.on("disconnect", this.onDisconnect);
      window.socket.on("connect", () => {
        if (this.disconnected) this.rating?.sendAgain();
        if (this.disconnected && !this.pending.size) this.setStatus("saved", "Connected again. All labels shown are saved.");
        this.disconnected = false;
      });
    },
    onKey(event) {
      const target = event.target;
      const isTextInput = target.tagName === "TEXTAREA" || (target.tagName === "INPUT" && target.type !== "range");
      const isEditing = target.isContentEditable || isTextInput || target.tagName === "SELECT";
      if (isEditing && event.key === "Escape") return target.blur();
      if (event.key === "Escape" && this.rating?.active) return this.rating.stop();
      if (isEditing || event.altKey || document.querySelector(".q-dialog, .q-menu")) return;
      if (target.closest("button, [role=combobox]") && (event.key === " " || event.key === "Enter")) return;
      const isSymbol = event.key.length === 1 && event.key.toLowerCase() === event.key.toUpperCase();
      const shift = event.shiftKey && !isSymbol ? "Shift+" : ""; // Keyboards differ in which symbols need Shift.
      const action = this.keys[(event.ctrlKey || event.metaKey ? "Ctrl+" : "") + shift + event.key];
      if (!action) return;
      event.preventDefault();
      this.perform(action);
    },
    pauseToWrite(event) {
      if (event.target.closest(".note") && this.player?.mode) this.player.pause(); // A note belongs to a frame.
    },
    keepFocus(event) {
      if (event.target.closest("button, .plane")) event.preventDefault(); // Space must still play after a click
    },
  },
};
