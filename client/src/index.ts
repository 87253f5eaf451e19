export { connect } from './client.js';
export * from './types.js';
