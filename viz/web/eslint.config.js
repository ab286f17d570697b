// Lint rules: TypeScript's strict set, the rules of hooks, and the rules that keep the page within its CSP.
import reactHooks from "eslint-plugin-react-hooks";
import tseslint from "typescript-eslint";

const element = (name, message) => ({ selector: `JSXOpeningElement[name.name='${name}']`, message });

export default tseslint.config(
  { ignores: ["dist", "node_modules", "artifacts", "public"] },
  tseslint.configs.strict,
  reactHooks.configs.flat.recommended,
  {
    rules: {
      "no-eval": "error",
      "no-restricted-syntax": [
        "error",
        { selector: "JSXAttribute[name.name='dangerouslySetInnerHTML']", message: "Values of the cluster are text." },
        { selector: "AssignmentExpression[left.property.name=/^(innerHTML|outerHTML)$/]", message: "Values of the cluster are text." },
        element("style", "The CSP forbids inline styles; use a CSS module."),
        element("script", "The CSP forbids inline scripts."),
      ],
      "@typescript-eslint/consistent-type-imports": "error",
    },
  },
);
