// The plane of valence and arousal: the estimate of the current frame, its label, and a click to label it. While the
// annotator rates, only the rating is shown.
const EDGE = 14, SIDE = 300, MIDDLE = SIDE / 2, UNIT = MIDDLE - EDGE;
const WORDS = [[-1, 1, "angry, afraid"], [1, 1, "excited"], [-1, -1, "sad, tired"], [1, -1, "calm"]];

export default {
  template: `
    <svg class="plane" viewBox="0 0 ${SIDE} ${SIDE}" tabindex="0" role="application" :aria-label="description"
         @click="click" @pointermove="hover" @pointerleave="pointer = null">
      <rect class="plane-field" x="${EDGE}" y="${EDGE}" width="${2 * UNIT}" height="${2 * UNIT}" rx="3" />
      <path class="plane-grid" :d="grid" />
      <path class="plane-axes" d="M${EDGE} ${MIDDLE}H${SIDE - EDGE}M${MIDDLE} ${EDGE}V${SIDE - EDGE}" />
      <text v-for="[x, y, word] in words" class="plane-word" :x="toX(x) - 6 * x" :y="toY(y) + (y > 0 ? 16 : -8)"
            :text-anchor="x < 0 ? 'start' : 'end'">{{ word }}</text>
      <text class="plane-axis" x="${SIDE - EDGE - 5}" y="${MIDDLE - 5}" text-anchor="end">valence</text>
      <text class="plane-axis" x="${MIDDLE + 5}" y="${EDGE + 14}">arousal</text>
      <clipPath id="plane-clip"><rect x="${EDGE}" y="${EDGE}" width="${2 * UNIT}" height="${2 * UNIT}" /></clipPath>
      <g v-if="estimate && !rating" clip-path="url(#plane-clip)">
        <ellipse class="plane-interval" :cx="toX(estimate[0])" :cy="toY(estimate[1])"
                 :rx="radii[0] * ${UNIT}" :ry="radii[1] * ${UNIT}" />
        <circle class="plane-estimate" :cx="toX(estimate[0])" :cy="toY(estimate[1])" r="4.5" />
      </g>
      <path v-if="expected && !rating" class="plane-expected" :d="diamond(expected)" />
      <g v-if="label && !rating" class="plane-label">
        <circle :cx="toX(label[0])" :cy="toY(label[1])" r="6.5" />
      </g>
      <circle v-if="rating" class="plane-rating" :cx="toX(rating[0])" :cy="toY(rating[1])" r="8" />
      <text v-if="pointer" class="plane-axis" x="${SIDE - EDGE - 5}" y="${MIDDLE + 14}"
            text-anchor="end">{{ format(pointer) }}</text>
    </svg>`,
  data: () => ({ words: WORDS, estimate: null, radii: null, label: null, expected: null, pointer: null, rating: null }),
  computed: {
    grid: () => [-0.5, 0.5].map((value) =>
      `M${MIDDLE + value * UNIT} ${EDGE}v${2 * UNIT}M${EDGE} ${MIDDLE + value * UNIT}h${2 * UNIT}`).join(""),
    description() {
      const label = this.label ? `label ${this.format(this.label)}` : "no label";
      const estimate = this.estimate ? `, estimate ${this.format(this.estimate)}` : "";
      return `Plane of valence and arousal: ${label}${estimate}. Keys A and D change valence, S and W arousal.`;
    },
  },
  mounted() {
    window.annotate.plane = this;
  },
  methods: {
    // Rates by the pointer: from anywhere once the rating has started, but only inside the plane before.
    aim(event, fromAnywhere) {
      if (fromAnywhere || this.$el.contains(event.target)) window.annotate.rating.pointAt(this.valuesAt(event));
    },
    show(data) {
      Object.assign(this, data);
    },
    toX: (value) => MIDDLE + value * UNIT,
    toY: (value) => MIDDLE - value * UNIT,
    format: (pair) => pair.map((value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2)).join("  "),
    diamond(pair) {
      return `M${this.toX(pair[0])} ${this.toY(pair[1]) - 7}l7 7l-7 7l-7 -7z`;
    },
    valuesAt(event) {
      const box = this.$el.getBoundingClientRect();
      const scale = SIDE / box.width;
      const pair = [(event.clientX - box.left) * scale - MIDDLE, MIDDLE - (event.clientY - box.top) * scale];
      return pair.map((value) => Math.min(1, Math.max(-1, value / UNIT)));
    },
    hover(event) {
      this.pointer = this.valuesAt(event);
    },
    click(event) {
      if (window.annotate.rating?.active) return;
      const [valence, arousal] = this.valuesAt(event);
      window.annotate.send("label", { valence, arousal });
    },
  },
};
