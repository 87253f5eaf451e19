// Package docs reads the blocks of code in the documents, and its tests run them: as they stand, by bash, in namespaces of
// their own where every port and every process number is free, with a real redis-server, router and gateways.
//
// What a block's first line says (CONTRIBUTING.md has it for those who write):
//
//	```sh                  commands: they are run, and have to succeed
//	```console             commands behind "$ ", and below each what it prints; … stands for whatever may stand there
//	```sh stays            a command that goes on until the document ends, as in a terminal of its own
//	```console until       a command that is repeated until it prints that
//	```js file=page.js     a file for the blocks that follow
//	```yaml gateway        settings of that role, or topic-rules: read as a node would
//	```sh not-run: why     not run, because of that; what it names has to be there all the same
//	```text, or indented   nothing that could be run
//
// All the blocks of a document share a folder and a shell. It knows nothing of Markdown but blocks and headings.
package docs
