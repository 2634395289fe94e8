// Prints a JSON-LD document as N-Triples, canonically ordered. In safe mode nothing is dropped
// in silence: a term without a definition, or an id that is not absolute, is an error.
import { readFileSync } from "node:fs";
import jsonld from "jsonld";

const document = JSON.parse(readFileSync(process.argv[2], "utf8"));
const refuse = () => {
  throw new Error("the document refers to another one");
};
process.stdout.write(await jsonld.toRDF(document, { format: "application/n-quads", safe: true, documentLoader: refuse }));
