// Both traces over the whole video, with their bands and labels. A click goes there; a label is dragged up and down.
const LEFT = 62, RIGHT = 14, TOP = 6, BETWEEN = 8, BELOW = 4, REACH = 3;

export default {
  template: `
    <div class="traces">
      <svg ref="svg" class="traces-svg" role="img" :aria-label="spoken" @pointerdown="press" @pointermove="drag"
           @pointerup="release" @pointercancel="release"></svg>
      <input class="traces-scrubber" type="range" aria-label="Moment in the video" min="0" :max="last" step="1"
             :value="row" :aria-valuetext="moment" @input="$event => act('goto', { row: +$event.target.value })" />
    </div>`,
  props: { last: Number },
  data: () => ({ row: 0, moment: "", spoken: "Traces of valence and arousal" }),
  mounted() {
    this.now = 0;
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(this.$refs.svg);
  },
  unmounted() {
    this.watcher.disconnect();
  },
  methods: {
    act: (name, detail) => window.annotate.act(name, detail),
    load(state) {
      this.state = state;
      this.spoken = `Traces of valence and arousal, ${state.marks.length} labelled frames`;
      this.draw();
    },
    at(row, time, moment) {
      Object.assign(this, { row, moment });
      this.now = time;
      this.$refs.svg.querySelector(".traces-now")?.setAttribute("d", this.cursor());
    },
    across(time) {
      const [start, end] = this.state.span;
      return LEFT + ((time - start) / (end - start || 1)) * (this.width - LEFT - RIGHT);
    },
    down(axis, value) {
      return TOP + axis * (this.panel + BETWEEN) + ((1 - value) / 2) * this.panel;
    },
    cursor() {
      return `M${this.across(this.now)} ${TOP}V${this.height - BELOW}`;
    },
    draw() {
      if (!this.state) return;
      this.width = this.$refs.svg.clientWidth;
      this.height = this.$refs.svg.clientHeight;
      this.panel = (this.height - TOP - BELOW - BETWEEN) / 2;
      const parts = this.state.axes.map((axis, place) => this.axis(axis, place));
      const { cuts, next } = this.state;
      const line = (time, kind) =>
        `<path class="${kind}" d="M${this.across(time)} ${TOP}V${this.height - BELOW}"/>`;
      parts.push(...cuts.map((time) => line(time, "traces-cut")));
      if (next !== null) {
        parts.push(line(next, "traces-next"), `<path class="traces-flag" d="M${this.across(next) - 5} 0h10l-5 7z"/>`);
      }
      parts.push(`<path class="traces-now" d="${this.cursor()}"/>`);
      parts.push(...[0, 1].map((place) => this.labels(place)));
      this.$refs.svg.innerHTML = parts.join(""); // numbers alone
    },
    axis({ name, x, mid, low, high }, place) {
      const top = TOP + place * (this.panel + BETWEEN), wide = this.width - LEFT - RIGHT;
      const gaps = this.state.gaps.map(([start, end]) =>
        `<rect class="traces-gap" x="${this.across(start)}" y="${top}" height="${this.panel}"
               width="${Math.max(1, this.across(end) - this.across(start))}"/>`);
      const ticks = [-1, 0, 1].map((value) =>
        `<path class="traces-grid" d="M${LEFT} ${this.down(place, value)}h${wide}"/>
         <text class="traces-tick" x="${LEFT - 5}" y="${this.down(place, value) + 3 + 4 * value}">${value}</text>`);
      return `<rect class="traces-field" x="${LEFT}" y="${top}" width="${wide}" height="${this.panel}"/>${gaps.join("")}
        ${ticks.join("")}<text class="traces-name" x="4" y="${top + this.panel / 2 + 4}">${place ? "arousal" : "valence"}</text>
        <path class="traces-band axis-${place}" d="${this.band(place, x, low, high)}"/>
        <path class="traces-line axis-${place}" d="${this.line(place, x, mid)}"/>`;
    },
    line(place, x, values) {
      let path = "", pen = "M";
      for (let i = 0; i < x.length; i++) {
        if (x[i] === null) pen = "M";
        else {
          path += `${pen}${this.across(x[i]).toFixed(1)} ${this.down(place, values[i]).toFixed(1)}`;
          pen = "L";
        }
      }
      return path;
    },
    band(place, x, low, high) {
      let path = "", start = 0;
      for (let i = 0; i < x.length; i++) {
        if (x[i] !== null) continue;
        const there = this.line(place, x.slice(start, i), high.slice(start, i));
        const back = this.line(place, x.slice(start, i).reverse(), low.slice(start, i).reverse());
        path += `${there}L${back.slice(1)}Z`;
        start = i + 1;
      }
      return path;
    },
    labels(place) {
      return this.state.marks.map((mark) => {
        const x = this.across(mark.time), y = this.down(place, mark.label[place]);
        const expected = mark.expected[place];
        const shown = expected === null ? "" : this.down(place, expected);
        const doubt = expected === null ? "" :
          `<path class="traces-expected" d="M${x} ${y}V${shown}M${x} ${shown - 5}l5 5l-5 5l-5 -5z"/>`;
        return `${doubt}<circle class="traces-mark axis-${place}${doubt && " contradicted"}" data-frame="${mark.frame}"
          data-axis="${place}" cx="${x}" cy="${y}" r="5.5"/>`;
      }).join("");
    },
    press(event) {
      if (event.button || !this.state) return;
      event.preventDefault();
      this.$refs.svg.setPointerCapture(event.pointerId);
      const mark = event.target.closest(".traces-mark");
      this.held = { mark, y: event.clientY, moved: false };
      if (mark) this.act("goto", { mark: +mark.dataset.frame });
      else this.go(event);
    },
    drag(event) {
      if (!this.held) return;
      if (!this.held.mark) return this.go(event);
      this.held.moved ||= Math.abs(event.clientY - this.held.y) >= REACH;
      if (this.held.moved) this.held.mark.setAttribute("cy", this.down(+this.held.mark.dataset.axis, this.value(event)));
    },
    release(event) {
      const { mark, moved } = this.held || {};
      if (moved && event.type === "pointercancel") this.draw();
      else if (moved) {
        this.act("move", { frame: +mark.dataset.frame, axis: +mark.dataset.axis, value: this.value(event) });
      }
      this.held = null;
    },
    value(event) {
      const y = event.clientY - this.$refs.svg.getBoundingClientRect().top;
      const top = TOP + this.held.mark.dataset.axis * (this.panel + BETWEEN);
      return Math.min(1, Math.max(-1, 1 - (2 * (y - top)) / this.panel));
    },
    go(event) {
      const x = event.clientX - this.$refs.svg.getBoundingClientRect().left;
      const [start, end] = this.state.span;
      this.act("goto", { time: start + ((x - LEFT) / (this.width - LEFT - RIGHT)) * (end - start) });
    },
  },
};
