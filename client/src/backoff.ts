// When to come back: the cluster's policy, with jitter.

export interface Policy {
  min: number;
  max: number;
  factor: number;
  jitter: number;
}

/** What holds until a cluster has told another. */
export const defaultPolicy: Policy = { min: 200, max: 30_000, factor: 2, jitter: 0.5 };

const hour = 3_600_000;

const within = (x: unknown, least: number, most: number) => typeof x === 'number' && x >= least && x <= most;

/** The policy that a server tells, or the one before where it can't be followed. */
export function obey(told: Policy | undefined, before: Policy): Policy {
  return told && within(told.min, 1, hour) && within(told.max, told.min, hour) && within(told.factor, 1, 10) && within(told.jitter, 0, 0.9)
    ? told
    : before;
}

/** The wait after the n-th failure in a row, counted from 0, in ms. */
export function delay(p: Policy, n: number): number {
  return Math.min(p.min * p.factor ** n, p.max) * (1 + p.jitter * (2 * Math.random() - 1));
}

/** A delay that a server asks for, within reason; undefined when it is none. */
export function asked(ms: unknown): number | undefined {
  return typeof ms === 'number' && Number.isFinite(ms) ? Math.min(Math.max(ms, 0), hour) : undefined;
}
