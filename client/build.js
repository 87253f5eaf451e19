// Builds dist/: one module, its source map and its types. It fails when the module is larger than it may be.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const limit = 6000; // bytes, gzipped

const here = fileURLToPath(new URL('.', import.meta.url));
process.chdir(here);
rmSync('dist', { recursive: true, force: true });
const result = await build({
  entryPoints: ['src/index.ts'],
  outfile: 'dist/index.js',
  bundle: true,
  minify: true,
  // Names that no page and no server knows: they need not be long.
  mangleProps:
    /^(blocked|asleep|changed|channels|dial|followers|forget|hand|held|least|moved|receive|renewable|told|wake|woken|policy|hub|emit|channel|gone|left|offline|save|hidden|over|leave|stop|start|refused|end|off|line|limit|options)$/,
  format: 'esm',
  target: 'es2022',
  sourcemap: 'linked',
  sourcesContent: false,
  write: true,
  metafile: true,
  logLevel: 'warning',
});
// The types, and then a program that uses them.
for (const project of ['.', 'test']) {
  const types = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', project], { stdio: 'inherit' });
  if (types.status !== 0) process.exit(1);
}
const size = gzipSync(readFileSync('dist/index.js'), { level: 9 }).length;
console.log(`dist/index.js: ${Object.values(result.metafile.outputs).at(-1).bytes} bytes, ${size} gzipped; ${limit} are the most`);
if (size > limit) process.exit(1);
