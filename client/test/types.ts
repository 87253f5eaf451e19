// What a program in TypeScript can say, and what its compiler tells it. It is compiled, not run.
import { connect, type Gap, type RingsideError, type Subscription } from '../dist/index.js';

const ringside = connect({ url: 'wss://live.example', WebSocket, fetch, storage: sessionStorage, token: () => 'sync', whenHidden: 'pause' });
const finals: Subscription = ringside.subscribe('finals', {
  onMessage: (m) => console.log(m.id.length, m.topic),
  onGap: (g, s) => lost(g, s.asOf),
  onError: (e: RingsideError) => console.log(e.code?.toFixed(), e.reason),
});
const off: () => void = ringside.on('stale', (stale, topic) => console.log(stale, topic.length));
off();

function lost(gap: Gap, asOf: number): string {
  return `${gap.reason} ${gap.count ?? 0} ${new Date(asOf)}`;
}

for await (const e of finals) {
  // @ts-expect-error: a gap has no data
  console.log(e.data);
  if (e.type === 'message') console.log(e.data);
  else if (e.type === 'skipped') console.log(e.count + 1);
  else console.log(lost(e, finals.asOf));
}
// @ts-expect-error: no such event
ringside.on('everything', () => {});
// @ts-expect-error: no such transport
connect({ url: 'wss://live.example', transport: 'udp' });
