// The current frame, as large as the window allows, with the face box; above it the video, while it plays (player.js).
// While one frame loads, only the newest request is kept.
export default {
  template: `
    <div class="picture">
      <div class="picture-fit" :style="fit">
        <img ref="image" :alt="alt" @load="loaded" @error="failed" draggable="false" />
        <video ref="video" class="picture-video" v-show="playing" preload="auto" playsinline disablepictureinpicture
               aria-label="The video" tabindex="-1"></video>
        <svg v-if="box && !looking" class="picture-box" :viewBox="'0 0 ' + width + ' ' + height" aria-hidden="true">
          <rect :x="box[0]" :y="box[1]" :width="box[2] - box[0]" :height="box[3] - box[1]" :class="{ labelled }" />
        </svg>
        <div v-if="!box && alt && !looking" class="picture-none">{{ missing }}</div>
      </div>
    </div>`,
  props: { width: Number, height: Number },
  computed: {
    fit() {
      const ratio = this.width / this.height;
      return { aspectRatio: ratio, width: `min(100cqw, ${100 * ratio}cqh)` };
    },
    looking() {
      return this.playing && window.annotate.player.mode !== "play"; // The box is that of the frame below the video.
    },
  },
  data: () => ({ alt: "", box: null, labelled: false, missing: "", playing: false }),
  mounted() {
    window.annotate.picture = this;
    window.annotate.player?.attach();
    this.loading = null; // the request whose image is being loaded
    this.requested = null; // the newest request
    window.annotate.shownFrame = null; // the frame of the previous video is no longer on screen
  },
  methods: {
    show(request) {
      this.requested = request;
      window.annotate.requestedFrame = request.frame;
      if (window.annotate.player?.mode) this.follow(request);
      else if (this.current && this.current.url === request.url) this.draw(request);
      else if (!this.loading) this.load();
    },
    // The box of a frame that is playing.
    follow({ box, labelled, missing }) {
      window.annotate.shownFrame = null;
      Object.assign(this, { box, labelled, missing });
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
      if (window.annotate.player?.mode) return;
      this.playing = false;
      window.annotate.shownFrame = request.frame;
      this.alt = `frame ${request.frame}`;
      this.box = request.box;
      this.labelled = request.labelled;
      this.missing = request.missing;
      if (window.annotate.lookAtNext && request === this.requested) {
        window.annotate.lookAtNext = false;
        window.annotate.player.look();
      }
    },
  },
};
