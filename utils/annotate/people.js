// The list of people with their tracks, and the likeliest people for the current track.
export default {
  template: `
    <div class="people" tabindex="-1">
      <div class="people-list" role="list" aria-label="People and their tracks">
        <div v-for="person in people" :key="person.name" role="listitem" class="people-person">
          <div class="people-name">{{ person.name }}</div>
          <div class="people-tracks">
            <button v-for="track in person.tracks" :key="track.id" class="people-face" :class="{ current: track.id === current?.id }"
                    :aria-label="track.label + ', ' + person.name" :aria-current="track.id === current?.id" @click="choose(track.id)">
              <img :src="track.url" alt="" loading="lazy" width="56" height="56" />
            </button>
          </div>
        </div>
      </div>
      <div v-if="current" class="people-current">
        <div class="people-track">
          <img :src="current.url" :alt="'First face of ' + current.label" width="144" height="144" />
          <div>
            <div class="people-label">{{ current.label }}</div>
            <div class="secondary">{{ current.span }}</div>
            <label class="people-rename">shows
              <input ref="name" :value="current.person" maxlength="60" aria-label="Name of the person"
                     @change="rename($event.target.value)" @keydown.enter="$event.target.blur()"
                     @keydown.esc.stop.prevent="leaveName" />
            </label>
          </div>
        </div>
        <div class="heading" role="heading" aria-level="2">Who may it be?</div>
        <div class="secondary">Sorted by image similarity, which proves nothing about who is shown: you decide.</div>
        <div class="people-candidates">
          <button v-for="(candidate, index) in candidates" :key="candidate.person" class="people-candidate" @click="join(index)">
            <img :src="candidate.url" alt="" width="96" height="96" />
            <span class="people-key">{{ index + 1 }}</span>
            <span class="people-name">{{ candidate.person }}</span>
            <span class="secondary">image similarity {{ candidate.image_similarity }}</span>
          </button>
          <div v-if="!candidates.length" class="secondary">There is no other person.</div>
        </div>
        <div class="people-buttons">
          <button v-for="button in buttons" :key="button.text" class="people-button" @click="perform(button.action)">
            {{ button.text }} <span class="people-key">{{ button.key }}</span></button>
        </div>
        <div class="status people-status" :class="failed ? 'status-failed' : 'status-saved'" role="status" aria-live="polite">{{ status }}</div>
      </div>
    </div>`,
  props: {
    keys: Object, // key → action, from actions.py
    buttons: Array, // text, key and action of each button
  },
  data: () => ({ people: [], current: null, candidates: [], status: "", failed: false, answers: 0 }),
  mounted() {
    window.people = this;
    document.addEventListener("keydown", this.onKey);
    this.$nextTick(() => this.$el.focus()); // The dialog takes the focus only once it has faded in.
    this.$emit("action", { name: "opened" });
  },
  unmounted() {
    document.removeEventListener("keydown", this.onKey);
    if (window.people === this) window.people = null;
  },
  methods: {
    // From the program.
    show(data) {
      Object.assign(this, data);
      this.answers++;
      this.$nextTick(() => this.$el.querySelector(".people-face.current")?.scrollIntoView({ block: "nearest" }));
    },
    choose(id) {
      this.send({ name: "choose", id });
    },
    join(index) {
      const candidate = this.candidates[index];
      if (candidate) this.send({ name: "join", id: this.current.id, person: candidate.person });
    },
    rename(text) {
      this.send({ name: "rename", id: this.current.id, text });
    },
    leaveName() {
      this.$refs.name.value = this.current.person;
      this.$refs.name.blur();
    },
    perform({ name, ...detail }) {
      if (name === "join") this.join(detail.candidate);
      else if (name === "focus_name") this.$refs.name.select();
      else this.send({ name, id: this.current?.id, ...detail });
    },
    send(action) {
      if (window.socket?.connected) this.$emit("action", action);
      else Object.assign(this, { status: "No connection to the program. Nothing is saved until it is back.", failed: true });
    },
    onKey(event) {
      if (event.altKey || event.target.tagName === "INPUT") return;
      if (event.target.closest("button") && (event.key === " " || event.key === "Enter")) return;
      const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      const control = event.ctrlKey || event.metaKey;
      const action = this.keys[(control ? "Ctrl+" : "") + (control && event.shiftKey ? "Shift+" : "") + key];
      if (!action) return;
      event.preventDefault();
      this.perform(action);
    },
  },
};
