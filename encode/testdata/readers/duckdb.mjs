// Prints the rows of a Parquet file as DuckDB reads them: a JSON array of objects. Lists stay
// lists, every other value is its text; what is null is left out. The first line of the table is
// the type of each column.
import { DuckDBInstance } from "@duckdb/node-api";

const file = process.argv[2].replaceAll("'", "''");
const instance = await DuckDBInstance.create(":memory:", { threads: "1" });
const connection = await instance.connect();
await connection.run("SET TimeZone = 'UTC'");
const columns = (await connection.runAndReadAll(`DESCRIBE SELECT * FROM '${file}'`)).getRowObjects();
const text = columns.map(({ column_name: name, column_type: type }) => {
  const quoted = `"${name.replaceAll('"', '""')}"`;
  return type.endsWith("[]") ? quoted : `CAST(${quoted} AS VARCHAR) AS ${quoted}`;
});
const rows = await connection.runAndReadAll(`SELECT ${text.join(", ")} FROM '${file}'`);
const found = rows.getRowObjects().map((row) =>
  Object.fromEntries(
    Object.entries(row)
      .filter(([, value]) => value !== null)
      .map(([name, value]) => [name, typeof value === "string" ? value : value.items]),
  ),
);
const types = Object.fromEntries(columns.map(({ column_name: name, column_type: type }) => [name, type]));
console.log(JSON.stringify([types, ...found]));
