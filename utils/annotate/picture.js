// The frame, as large as there is room, with the face box. Always the newest frame that was asked for.
export default {
  template: `
    <div class="picture">
      <div class="picture-fit" :style="fit">
        <img ref="image" :alt="alt" @load="loaded" @error="failed" draggable="false" />
        <svg v-if="box" class="picture-box" :viewBox="'0 0 ' + width + ' ' + height" aria-hidden="true">
          <rect :x="box[0]" :y="box[1]" :width="box[2] - box[0]" :height="box[3] - box[1]" :class="{ labelled }" />
        </svg>
        <div v-if="!box && alt" class="picture-none">{{ missing }}</div>
      </div>
    </div>`,
  props: { width: Number, height: Number },
  computed: {
    fit() {
      const ratio = this.width / this.height;
      return { aspectRatio: ratio, width: `min(100cqw, ${100 * ratio}cqh)` };
    },
  },
  data: () => ({ alt: "", box: null, labelled: false, missing: "" }),
  mounted() {
    this.loading = null;
    this.wanted = null;
    window.annotate.shown = null; // what another video showed is gone
  },
  methods: {
    show(wanted) {
      this.wanted = wanted;
      window.annotate.asked = wanted.frame;
      if (this.on && this.on.url === wanted.url) this.draw(wanted);
      else if (!this.loading) this.load();
    },
    load() {
      this.loading = this.wanted;
      this.$refs.image.src = this.loading.url;
    },
    loaded() {
      this.on = this.loading;
      this.loading = null;
      this.draw(this.on.url === this.wanted.url ? this.wanted : this.on);
      if (this.on.url !== this.wanted.url) this.load();
    },
    failed() {
      this.loading = null;
      window.annotate.shown = null;
      this.box = null;
      this.alt = this.missing = "This frame cannot be shown";
    },
    draw(state) {
      window.annotate.shown = state.frame;
      this.alt = `frame ${state.frame}`;
      this.box = state.box;
      this.labelled = state.labelled;
      this.missing = state.missing;
    },
  },
};
