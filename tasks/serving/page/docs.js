// The routes of openapi.json as a page; no library, so that nothing is fetched from elsewhere.
"use strict";

function made(tag, text, ...inner) {
  const element = document.createElement(tag);
  if (text) element.textContent = text;
  element.append(...inner);
  return element;
}

// The schema as JSON with every reference to a named part replaced by that part's fields.
function resolved(schema, parts, depth = 0) {
  if (Array.isArray(schema)) return schema.map((one) => resolved(one, parts, depth));
  if (!schema || typeof schema !== "object") return schema;
  if (schema.$ref) return depth > 6 ? {} : resolved(parts[schema.$ref.split("/").pop()], parts, depth + 1);
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(value, parts, depth)]));
}

async function show() {
  const api = await (await fetch("/openapi.json")).json();
  const parts = (api.components || {}).schemas || {};
  const place = document.getElementById("routes");
  place.append(made("p", "Every route but /health asks for the key: Authorization: Bearer KEY. `shardtune status --login` shows it."));
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, told] of Object.entries(methods)) {
      const body = told.requestBody && told.requestBody.content["application/json"].schema;
      const section = made("section", "", made("h2", `${method.toUpperCase()} ${path}`), made("p", told.summary));
      section.className = "card";
      if (told.parameters) {
        section.append(made("p", "Parameters: " + told.parameters.map((one) => `${one.name} (${one.in})`).join(", ")));
      }
      if (body) {
        const code = made("pre", JSON.stringify(resolved(body, parts), null, 2));
        code.tabIndex = 0;
        section.append(made("details", "", made("summary", "Body"), code));
      }
      place.append(section);
    }
  }
}

show();
