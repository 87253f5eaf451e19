// What was received, lost and repeated, by the sequence numbers in the messages themselves: whoever delivers them has no say in it.

export class Tally {
  received = 0;
  lost = 0;
  repeated = 0;
  pause = 0; // the longest between two messages, ms
  #run = ''; #seq = 0; #at = 0;

  // take counts a message and says whether it is new.
  take({ run, seq }) {
    const now = performance.now();
    this.received++;
    const known = run === this.#run;
    if (known && seq <= this.#seq) {
      this.repeated++;
      return false;
    }
    if (known) {
      this.lost += seq - this.#seq - 1;
      this.pause = Math.max(this.pause, now - this.#at);
    }
    this.#run = run;
    this.#seq = seq;
    this.#at = now;
    return true;
  }

  // again begins counting anew with the next message.
  again() { this.#run = ''; }
}
