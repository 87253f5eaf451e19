// What is published, and whether a follower was told all of it: each message once, in order, and gaps where something is missing.
import assert from 'node:assert/strict';
import { eventually } from './cluster.js';

/** Numbered messages to a topic. */
export class Story {
  published = 0;
  padding = '';
  #stop = false;
  #running;

  constructor(cluster, topic) {
    this.cluster = cluster;
    this.topic = topic;
  }

  async tell(n = 1) {
    for (let i = 0; i < n; i++) {
      await this.cluster.publish(this.topic, { n: this.published + 1, padding: this.padding || undefined }, `${this.topic}-${this.published + 1}`);
      this.published++;
    }
  }

  /** Publishes on and on, until stop. */
  run() {
    this.#running = (async () => {
      while (!this.#stop) {
        await this.tell();
        await new Promise((done) => setTimeout(done, 5)); // a pace that leaves the machine to what is tested
      }
    })();
  }

  async stop() {
    this.#stop = true;
    await this.#running;
  }
}

/** What one follower was handed. Numbers are messages, everything else is told. */
export class Witness {
  seen = [];
  gaps = [];

  /** Handlers for subscribe. */
  get handlers() {
    return { onMessage: (m) => this.seen.push(m.data.n), onGap: (g) => this.gaps.push(g) };
  }

  /** Waits for the last message of a story, and checks that each one from the first that was seen on came once and in order. */
  async sawAll(story, first = 1) {
    await eventually(`message ${story.published} of ${story.topic}, after ${this.seen.at(-1)}`, () => this.seen.at(-1) >= story.published);
    this.exact(story, first);
  }

  exact(story, first = 1) {
    assert.deepEqual(this.gaps, [], 'nothing was lost, so no gap is told');
    assert.deepEqual(
      this.seen,
      Array.from({ length: story.published - first + 1 }, (_, i) => first + i),
      `${story.topic}: each message once, in order`,
    );
  }
}

/** Waits until a client is in a state. */
export function reached(ringside, state) {
  return eventually(`the client is ${state}, not ${ringside.state}`, () => ringside.state === state);
}
