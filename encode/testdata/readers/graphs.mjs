// Holds the forms of linked data in a folder to each other, with readers that are not ours: name.jsonld,
// name.ttl and name.nt have to be the same statements, and conform to the shapes in *.shacl.ttl. Prints
// what is wrong, one on a line, and how many documents, statements and shapes it has seen.
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import jsonld from "jsonld";
import { Parser, Store, Writer } from "n3";
import SHACLValidator from "rdf-validate-shacl";

const folder = process.argv[2];
const text = (name) => readFileSync(join(folder, name), "utf8");
const files = readdirSync(folder).sort();
const refuse = () => {
  throw new Error("the document refers to another one");
};
const canonical = (nquads) =>
  jsonld.canonize(nquads, { algorithm: "RDFC-1.0", inputFormat: "application/n-quads", format: "application/n-quads" });
const ofJSONLD = (name) => jsonld.toRDF(JSON.parse(text(name)), { format: "application/n-quads", safe: true, documentLoader: refuse });
const quadsOf = (name, format) => new Parser({ format }).parse(text(name));
const nquads = (quads) =>
  new Promise((resolve, reject) => {
    const writer = new Writer({ format: "N-Quads" });
    writer.addQuads(quads);
    writer.end((error, result) => (error ? reject(error) : resolve(result)));
  });

const shapes = new Store();
let shapeFiles = 0;
for (const name of files.filter((f) => f.endsWith(".shacl.ttl"))) {
  shapes.addQuads(quadsOf(name, "text/turtle"));
  shapeFiles++;
}
const validator = new SHACLValidator(shapes);
let documents = 0, statements = 0;
for (const name of files.filter((f) => f.endsWith(".jsonld")).map((f) => f.slice(0, -7))) {
  documents++;
  const expanded = await canonical(await ofJSONLD(name + ".jsonld"));
  statements += expanded.split("\n").length - 1;
  for (const [file, format] of [[name + ".ttl", "text/turtle"], [name + ".nt", "N-Triples"]]) {
    if (!files.includes(file)) continue;
    if ((await canonical(await nquads(quadsOf(file, format)))) !== expanded) console.log(file + " says something else than the JSON-LD");
  }
  if (files.includes(name + ".published") && (await canonical(await ofJSONLD(name + ".published"))) !== expanded) console.log(name + " says something else under the published context");
  const report = await validator.validate(new Store(new Parser({ format: "N-Quads" }).parse(expanded)));
  for (const r of report.results) console.log(`${name}: ${r.path?.value} ${r.sourceConstraintComponent?.value} ${r.value?.value ?? ""}`);
}
console.log(`${documents} documents, ${statements} statements, ${shapeFiles} files of shapes`);
