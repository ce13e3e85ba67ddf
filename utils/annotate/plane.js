// The plane of valence and arousal: where the labels put this frame, and where the person does, by one click.
const EDGE = 14, SIDE = 300, MIDDLE = SIDE / 2, UNIT = MIDDLE - EDGE;
const WORDS = [[-1, 1, "angry, afraid"], [1, 1, "excited"], [-1, -1, "sad, tired"], [1, -1, "calm"]];

export default {
  template: `
    <svg class="plane" viewBox="0 0 ${SIDE} ${SIDE}" tabindex="0" role="application" :aria-label="spoken"
         @click="click" @pointermove="hover" @pointerleave="at = null">
      <rect class="plane-field" x="${EDGE}" y="${EDGE}" width="${2 * UNIT}" height="${2 * UNIT}" rx="3" />
      <path class="plane-grid" :d="grid" />
      <path class="plane-axes" d="M${EDGE} ${MIDDLE}H${SIDE - EDGE}M${MIDDLE} ${EDGE}V${SIDE - EDGE}" />
      <text v-for="[x, y, word] in words" class="plane-word" :x="across(x) - 6 * x" :y="down(y) + (y > 0 ? 16 : -8)"
            :text-anchor="x < 0 ? 'start' : 'end'">{{ word }}</text>
      <text class="plane-axis" x="${SIDE - EDGE - 5}" y="${MIDDLE - 5}" text-anchor="end">valence</text>
      <text class="plane-axis" x="${MIDDLE + 5}" y="${EDGE + 14}">arousal</text>
      <clipPath id="plane-clip"><rect x="${EDGE}" y="${EDGE}" width="${2 * UNIT}" height="${2 * UNIT}" /></clipPath>
      <g v-if="estimate" clip-path="url(#plane-clip)">
        <ellipse class="plane-doubt" :cx="across(estimate[0])" :cy="down(estimate[1])"
                 :rx="radii[0] * ${UNIT}" :ry="radii[1] * ${UNIT}" />
        <circle class="plane-estimate" :cx="across(estimate[0])" :cy="down(estimate[1])" r="4.5" />
      </g>
      <path v-if="expected" class="plane-expected" :d="diamond(expected)" />
      <g v-if="label" class="plane-label">
        <circle :cx="across(label[0])" :cy="down(label[1])" r="6.5" />
      </g>
      <text v-if="at" class="plane-axis" x="${SIDE - EDGE - 5}" y="${MIDDLE + 14}" text-anchor="end">{{ shown(at) }}</text>
    </svg>`,
  data: () => ({ words: WORDS, estimate: null, radii: null, label: null, expected: null, at: null }),
  computed: {
    grid: () => [-0.5, 0.5].map((v) =>
      `M${MIDDLE + v * UNIT} ${EDGE}v${2 * UNIT}M${EDGE} ${MIDDLE + v * UNIT}h${2 * UNIT}`).join(""),
    spoken() {
      const says = this.label ? `label ${this.shown(this.label)}` : "no label";
      const estimate = this.estimate ? `, estimate ${this.shown(this.estimate)}` : "";
      return `Plane of valence and arousal: ${says}${estimate}. Keys A and D set valence, S and W arousal.`;
    },
  },
  methods: {
    show(state) {
      Object.assign(this, state);
    },
    across: (value) => MIDDLE + value * UNIT,
    down: (value) => MIDDLE - value * UNIT,
    shown: (pair) => pair.map((value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2)).join("  "),
    diamond(pair) {
      return `M${this.across(pair[0])} ${this.down(pair[1]) - 7}l7 7l-7 7l-7 -7z`;
    },
    point(event) {
      const box = this.$el.getBoundingClientRect();
      const scale = SIDE / box.width;
      const pair = [(event.clientX - box.left) * scale - MIDDLE, MIDDLE - (event.clientY - box.top) * scale];
      return pair.map((value) => Math.min(1, Math.max(-1, value / UNIT)));
    },
    hover(event) {
      this.at = this.point(event);
    },
    click(event) {
      const [valence, arousal] = this.point(event);
      window.annotate.act("label", { valence, arousal });
    },
  },
};
