// Plays the video with its sound, over the picture. While it plays, the program follows at FOLLOW_INTERVAL; when it
// pauses, the program shows the exact frame.
const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2];
const FOLLOW_INTERVAL = 80; // milliseconds
const LOOK_SECONDS = 1; // before and after the frame in question

export default {
  template: `
    <div class="player" role="group" aria-label="Player">
      <q-btn flat round dense :disable="!ready" :icon="mode === 'play' ? 'pause' : 'play_arrow'"
             :aria-label="mode === 'play' ? 'Pause' : 'Play'" @click="play">
        <q-tooltip>Play or pause (Space)</q-tooltip></q-btn>
      <q-btn flat round dense :disable="!ready" icon="visibility" aria-label="Look: play two seconds around this frame"
             @click="look"><q-tooltip>Look: play the two seconds around this frame (L)</q-tooltip></q-btn>
      <q-btn flat round dense :disable="!ready" icon="preview" aria-label="Look at each suggested frame first"
             :aria-pressed="lookFirst" :class="{ pressed: lookFirst }" @click="lookFirst = !lookFirst">
        <q-tooltip>Next plays the two seconds around its frame first</q-tooltip></q-btn>
      <select class="speed" aria-label="Speed" :value="speed"
              @change="setSpeed(+$event.target.value), $event.target.blur()">
        <option v-for="value in speeds" :value="value">{{ value }} ×</option>
      </select>
      <q-btn flat round dense :disable="!ready" :icon="muted ? 'volume_off' : 'volume_up'"
             :aria-label="muted ? 'Sound on' : 'Sound off'" @click="mute">
        <q-tooltip>Sound on or off (M)</q-tooltip></q-btn>
      <span v-if="notice" class="secondary player-notice" :title="notice">{{ notice }}</span>
    </div>`,
  data: () => ({ speeds: SPEEDS, mode: null, speed: 1, muted: false, ready: false, notice: "", lookFirst: false }),
  mounted() {
    window.annotate.player = this;
  },
  methods: {
    // From the program: what to play, and the time in the video at which it starts; or why there is nothing yet.
    load(source, start, notice) {
      Object.assign(this, { source, start, notice });
      this.attach();
    },
    // Loads the video into the picture, also into the picture of another video, which is made anew.
    attach() {
      const { source } = this, video = this.video();
      this.stop();
      this.setReady(false);
      video.onloadeddata = () => this.setReady(true);
      video.onended = () => this.ended();
      video.onerror = () => source && this.refused();
      if (source) video.src = source;
      else video.removeAttribute("src");
    },
    tell(notice) {
      this.notice = notice;
    },
    video: () => window.annotate.picture.$refs.video,
    setReady(ready) {
      this.ready = ready;
      if (window.annotate.rating) window.annotate.rating.ready = ready;
    },
    refused() {
      this.setReady(false);
      this.notice = "preparing the video …";
      this.stop();
      window.annotate.send("unplayable");
    },
    // Plays from a time in the video until another one.
    async begin(mode, from, until = Infinity) {
      const video = this.video();
      this.stop();
      const run = (this.run = {});
      Object.assign(this, { mode, until, time: from });
      video.playbackRate = mode === "rate" ? 1 : this.speed;
      video.muted = this.muted;
      video.currentTime = Math.max(0, from - this.start);
      await new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
      if (this.run !== run) return;
      window.annotate.picture.playing = true;
      await video.play().catch(() => {
        this.muted = video.muted = true; // The browser plays sound only after the first click or key.
        return video.play().catch(() => this.stop());
      });
      this.follow(run);
    },
    follow(run) {
      const video = this.video();
      const next = (time) => {
        if (this.run !== run) return;
        this.time = time + this.start;
        if (this.time >= this.until) return this.finishLook();
        const now = performance.now();
        if (this.mode === "rate") window.annotate.traces.follow(this.time);
        if (this.mode === "play" && now - (run.told || 0) >= FOLLOW_INTERVAL) {
          run.told = now;
          window.annotate.send("playing", { time: this.time });
        }
        request();
      };
      const request = () =>
        video.requestVideoFrameCallback
          ? video.requestVideoFrameCallback((_, { mediaTime }) => next(mediaTime))
          : requestAnimationFrame(() => next(video.currentTime));
      request();
    },
    // Time in the video, also between two frames.
    now() {
      return this.video().currentTime + this.start;
    },
    isMoving() {
      const video = this.video();
      return window.annotate.picture.playing && !video.paused && !video.seeking;
    },
    stop() {
      this.run = null;
      if (!this.mode) return;
      this.mode = null;
      this.video().pause();
      window.annotate.rating?.finish();
    },
    pause() {
      const time = this.time;
      this.stop();
      window.annotate.send("goto", { time });
    },
    finishLook() {
      this.stop();
      window.annotate.picture.playing = false; // The frame in question is still below.
    },
    ended() {
      if (this.mode === "look") return this.finishLook();
      if (this.mode) this.time = this.video().duration + this.start; // the last frame
      if (this.mode) this.pause();
    },
    // Actions of the annotator
    play() {
      if (this.mode === "play") return this.pause();
      if (!this.ready) return;
      const { seconds, isLast } = window.annotate.moment;
      this.begin("play", isLast ? this.start : seconds);
    },
    look() {
      if (this.mode === "look") return this.finishLook();
      if (!this.ready) return;
      if (this.mode) return this.pause();
      const { seconds } = window.annotate.moment;
      this.begin("look", seconds - LOOK_SECONDS, seconds + LOOK_SECONDS);
    },
    mute() {
      this.muted = !this.muted;
      this.video().muted = this.muted;
    },
    setSpeed(speed) {
      this.speed = speed;
      if (this.mode !== "rate") this.video().playbackRate = speed;
    },
    slower() {
      this.setSpeed(SPEEDS[Math.max(0, SPEEDS.indexOf(this.speed) - 1)]);
    },
    faster() {
      this.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, SPEEDS.indexOf(this.speed) + 1)]);
    },
  },
};
