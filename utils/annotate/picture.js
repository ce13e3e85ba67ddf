// The current frame, as large as the window allows, with the face box. While one frame loads, only the newest request
// is kept.
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
    this.loading = null; // the request whose image is being loaded
    this.requested = null; // the newest request
    window.annotate.shownFrame = null; // the frame of the previous video is no longer on screen
  },
  methods: {
    show(request) {
      this.requested = request;
      window.annotate.requestedFrame = request.frame;
      if (this.current && this.current.url === request.url) this.draw(request);
      else if (!this.loading) this.load();
    },
    load() {
      this.loading = this.requested;
      this.$refs.image.src = this.loading.url;
    },
    loaded() {
      this.current = this.loading;
      this.loading = null;
      this.draw(this.current.url === this.requested.url ? this.requested : this.current);
      if (this.current.url !== this.requested.url) this.load();
    },
    failed() {
      this.loading = null;
      window.annotate.shownFrame = null;
      this.box = null;
      this.alt = this.missing = "This frame cannot be shown";
    },
    draw(request) {
      window.annotate.shownFrame = request.frame;
      this.alt = `frame ${request.frame}`;
      this.box = request.box;
      this.labelled = request.labelled;
      this.missing = request.missing;
    },
  },
};
