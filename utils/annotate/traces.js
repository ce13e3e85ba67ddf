// Valence and arousal over the whole video, with intervals and labels. A click shows that moment; a label can be dragged
// up and down.
const LEFT = 62, RIGHT = 14, TOP = 6, BETWEEN = 8, BOTTOM = 4; // margins in pixels
const DRAG_DISTANCE = 3; // pixels that the pointer moves before a press on a label becomes a drag

export default {
  template: `
    <div class="traces">
      <svg ref="svg" class="traces-svg" role="img" :aria-label="description" @pointerdown="press" @pointermove="drag"
           @pointerup="release" @pointercancel="release"></svg>
      <input class="traces-scrubber" type="range" aria-label="Moment in the video" min="0" :max="lastRow" step="1"
             :value="row" :aria-valuetext="moment" @input="$event => send('goto', { row: +$event.target.value })" />
    </div>`,
  props: { lastRow: Number },
  data: () => ({ row: 0, moment: "", description: "Traces of valence and arousal" }),
  mounted() {
    this.seconds = 0;
    window.annotate.traces = this;
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.$refs.svg);
  },
  unmounted() {
    this.watcher.disconnect();
  },
  methods: {
    send: (name, detail) => window.annotate.send(name, detail),
    load(data) {
      this.traces = data;
      this.description = `Traces of valence and arousal, ${data.labels.length} labelled frames`;
      this.draw();
    },
    moveTo(row, seconds, moment) {
      Object.assign(this, { row, moment });
      window.annotate.moment = { seconds, isLast: row === this.lastRow };
      this.showTime(seconds);
    },
    // While a rating is recorded, the program does not tell the row.
    follow(seconds) {
      const [start, end] = this.traces.span;
      this.row = Math.round(((seconds - start) / (end - start || 1)) * this.lastRow);
      this.showTime(seconds);
    },
    showTime(seconds) {
      this.seconds = seconds;
      this.$refs.svg.querySelector(".traces-cursor")?.setAttribute("d", this.cursor());
    },
    toX(time) {
      const [start, end] = this.traces.span;
      return LEFT + ((time - start) / (end - start || 1)) * (this.width - LEFT - RIGHT);
    },
    toY(axis, value) {
      return TOP + axis * (this.panel + BETWEEN) + ((1 - value) / 2) * this.panel;
    },
    cursor() {
      return `M${this.toX(this.seconds)} ${TOP}V${this.height - BOTTOM}`;
    },
    draw() {
      if (!this.traces) return;
      this.width = this.$refs.svg.clientWidth;
      this.height = this.$refs.svg.clientHeight;
      this.panel = (this.height - TOP - BOTTOM - BETWEEN) / 2;
      const parts = this.traces.axes.map((trace, axis) => this.panelOf(trace, axis));
      const { cuts, suggestion } = this.traces;
      const line = (time, className) =>
        `<path class="${className}" d="M${this.toX(time)} ${TOP}V${this.height - BOTTOM}"/>`;
      parts.push(...cuts.map((time) => line(time, "traces-cut")));
      if (suggestion !== null) {
        const flag = `<path class="traces-flag" d="M${this.toX(suggestion) - 5} 0h10l-5 7z"/>`;
        parts.push(line(suggestion, "traces-suggestion"), flag);
      }
      parts.push(`<path class="traces-cursor" d="${this.cursor()}"/>`);
      parts.push(...[0, 1].map((axis) => this.labelsOf(axis)));
      this.$refs.svg.innerHTML = parts.join(""); // numbers and axis names only, so there is nothing to escape
    },
    panelOf({ name, x, mid, low, high }, axis) {
      const top = TOP + axis * (this.panel + BETWEEN), wide = this.width - LEFT - RIGHT;
      const gaps = this.traces.gaps.map(([start, end]) =>
        `<rect class="traces-gap" x="${this.toX(start)}" y="${top}" height="${this.panel}"
               width="${Math.max(1, this.toX(end) - this.toX(start))}"/>`);
      const ticks = [-1, 0, 1].map((value) =>
        `<path class="traces-grid" d="M${LEFT} ${this.toY(axis, value)}h${wide}"/>
         <text class="traces-tick" x="${LEFT - 5}" y="${this.toY(axis, value) + 3 + 4 * value}">${value}</text>`);
      return `<rect class="traces-field" x="${LEFT}" y="${top}" width="${wide}" height="${this.panel}"/>${gaps.join("")}
        ${ticks.join("")}<text class="traces-name" x="4" y="${top + this.panel / 2 + 4}">${name}</text>
        <path class="traces-band axis-${axis}" d="${this.band(axis, x, low, high)}"/>
        ${this.ratingOf(axis)}
        <path class="traces-line axis-${axis}" d="${this.line(axis, x, mid)}"/>`;
    },
    ratingOf(axis) {
      const { x, y } = this.traces.rating[axis];
      return `<path class="traces-rating" d="${this.line(axis, x, y)}"/>`;
    },
    line(axis, x, values) {
      let path = "", pen = "M";
      for (let i = 0; i < x.length; i++) {
        if (x[i] === null) pen = "M";
        else {
          path += `${pen}${this.toX(x[i]).toFixed(1)} ${this.toY(axis, values[i]).toFixed(1)}`;
          pen = "L";
        }
      }
      return path;
    },
    band(axis, x, low, high) {
      let path = "", start = 0;
      for (let i = 0; i < x.length; i++) {
        if (x[i] !== null) continue;
        const there = this.line(axis, x.slice(start, i), high.slice(start, i));
        const back = this.line(axis, x.slice(start, i).reverse(), low.slice(start, i).reverse());
        path += `${there}L${back.slice(1)}Z`;
        start = i + 1;
      }
      return path;
    },
    labelsOf(axis) {
      return this.traces.labels.map((label) => {
        const x = this.toX(label.time), y = this.toY(axis, label.values[axis]), expected = label.expected[axis];
        const expectedY = expected === null ? null : this.toY(axis, expected);
        const contradiction = expected === null ? "" :
          `<path class="traces-expected" d="M${x} ${y}V${expectedY}M${x} ${expectedY - 5}l5 5l-5 5l-5 -5z"/>`;
        const className = `traces-label axis-${axis}${contradiction && " contradicted"}`;
        return `${contradiction}<circle class="${className}" data-frame="${label.frame}" data-axis="${axis}"
          cx="${x}" cy="${y}" r="5.5"/>`;
      }).join("");
    },
    press(event) {
      if (event.button || !this.traces) return;
      event.preventDefault();
      this.$refs.svg.setPointerCapture(event.pointerId);
      const label = event.target.closest(".traces-label");
      this.pressed = { label, y: event.clientY, moved: false };
      if (label) this.send("goto", { frame: +label.dataset.frame });
      else this.goTo(event);
    },
    drag(event) {
      if (!this.pressed) return;
      if (!this.pressed.label) return this.goTo(event);
      this.pressed.moved ||= Math.abs(event.clientY - this.pressed.y) >= DRAG_DISTANCE;
      const { label, moved } = this.pressed;
      if (moved) label.setAttribute("cy", this.toY(+label.dataset.axis, this.valueAt(event)));
    },
    release(event) {
      const { label, moved } = this.pressed || {};
      if (moved && event.type === "pointercancel") this.draw();
      else if (moved) {
        this.send("drag", { frame: +label.dataset.frame, axis: +label.dataset.axis, value: this.valueAt(event) });
      }
      this.pressed = null;
    },
    valueAt(event) {
      const y = event.clientY - this.$refs.svg.getBoundingClientRect().top;
      const top = TOP + this.pressed.label.dataset.axis * (this.panel + BETWEEN);
      return Math.min(1, Math.max(-1, 1 - (2 * (y - top)) / this.panel));
    },
    goTo(event) {
      const x = event.clientX - this.$refs.svg.getBoundingClientRect().left;
      const [start, end] = this.traces.span;
      this.send("goto", { time: start + ((x - LEFT) / (this.width - LEFT - RIGHT)) * (end - start) });
    },
  },
};
