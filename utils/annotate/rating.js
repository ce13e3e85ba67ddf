// Rates the video while it plays: the pointer in the plane is recorded, and sent to the program about once a second.
// The video starts when the pointer enters the plane, so that nothing is recorded before the annotator is ready.
// Samples are kept until the program has saved them; after a lost connection they are sent again.
const SAMPLE_INTERVAL = 25; // milliseconds
const SEND_INTERVAL = 1000;
const HOW = "Move the pointer into the plane, or press A, D, S or W: the video starts, and your rating with it.";

export default {
  template: `
    <div class="rating" role="group" aria-label="Rating">
      <q-btn flat no-caps dense icon="fiber_manual_record" :label="recording ? 'Stop' : 'Rate'" :disable="!ready"
             :class="{ recording, pressed: waiting }" :aria-pressed="recording || waiting" @click="record">
        <q-tooltip>Rate while the video plays: point at what the face shows (R)</q-tooltip></q-btn>
      <span v-if="rated" class="secondary rated" :title="rated">{{ rated }}</span>
      <q-btn v-if="rated" flat round dense icon="delete_outline" aria-label="Delete the rating" @click="remove">
        <q-tooltip>Delete the rating</q-tooltip></q-btn>
    </div>`,
  data: () => ({ rated: "", waiting: false, recording: false, ready: false }),
  computed: {
    active() {
      return this.waiting || this.recording;
    },
  },
  mounted() {
    window.annotate.rating = this;
    this.point = [0, 0];
    this.unsaved = new Map(); // number of the action, or a symbol without connection → what it sends
    // A hidden tab records too seldom, and a sleeping computer not at all.
    this.onHidden = () => document.hidden && this.stop();
    this.onPointer = (event) => this.active && window.annotate.plane.aim(event, this.recording);
    document.addEventListener("visibilitychange", this.onHidden);
    document.addEventListener("pointermove", this.onPointer);
  },
  unmounted() {
    document.removeEventListener("visibilitychange", this.onHidden);
    document.removeEventListener("pointermove", this.onPointer);
    clearInterval(this.timer);
  },
  methods: {
    // From the program: what is rated.
    show(rated) {
      this.rated = rated;
    },
    remove() {
      window.annotate.send("delete_rating");
    },
    // What R and the button do.
    record() {
      if (this.active) return this.stop();
      if (!this.ready) return;
      if (window.annotate.player.mode) window.annotate.player.pause();
      this.waiting = true;
      window.annotate.setStatus("idle", HOW);
    },
    // The annotator points at a pair of valence and arousal.
    pointAt(pair) {
      this.point = pair;
      window.annotate.plane.rating = pair;
      if (this.waiting) this.start();
    },
    nudge({ axis, by }) {
      const point = [...this.point];
      point[axis] = Math.min(1, Math.max(-1, point[axis] + by));
      this.pointAt(point);
    },
    start() {
      const { seconds, isLast } = window.annotate.moment, { player } = window.annotate;
      Object.assign(this, { waiting: false, recording: true });
      Object.assign(this, { samples: [], isFirst: true, from: isLast ? player.start : seconds, sent: performance.now() });
      player.begin("rate", this.from);
      window.annotate.setStatus("idle", "Recording. R or Esc ends the rating.");
      this.timer = setInterval(this.sample, SAMPLE_INTERVAL);
    },
    sample() {
      const { player } = window.annotate;
      if (!player.isMoving()) return;
      const time = Math.round(player.now() * 1e4) / 1e4;
      if (time > (this.samples.at(-1)?.[0] ?? this.from - 1e-4)) this.samples.push([time, ...this.point]);
      if (performance.now() - this.sent >= SEND_INTERVAL) this.flush(false);
    },
    flush(last) {
      const { samples, from, isFirst } = this;
      this.sent = performance.now();
      if (samples.length) this.from = samples.at(-1)[0] + 1e-4;
      this.samples = [];
      this.deliver({ start: from, samples, first: isFirst, last });
      this.isFirst &&= !samples.length;
    },
    deliver(samples) {
      const unsent = Symbol("not sent");
      this.unsaved.set(unsent, samples);
      const id = window.annotate.send("rate", samples);
      if (id === undefined) return;
      this.unsaved.delete(unsent);
      this.unsaved.set(id, samples);
    },
    // From the program: an action is performed, or has failed.
    answered(id) {
      this.unsaved.delete(id);
    },
    // The connection is back.
    sendAgain() {
      const unsaved = [...this.unsaved];
      this.unsaved.clear();
      for (const [id, samples] of unsaved) {
        window.annotate.pending.delete(id);
        this.deliver(samples);
      }
    },
    stop() {
      if (this.recording) return window.annotate.player.pause(); // which calls finish
      this.waiting = false;
      window.annotate.setStatus("idle", "");
    },
    // From the player, when it has stopped.
    finish() {
      if (!this.recording) return;
      clearInterval(this.timer);
      this.recording = false;
      window.annotate.plane.rating = null;
      this.flush(true);
    },
  },
};
