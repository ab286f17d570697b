// A resource as YAML, without values that could be secret.
import { useApi } from "../api/queries";
import type { ResourceDefinition, ResourceRef } from "../api/types";
import { Loaded } from "./Loaded";
import styles from "./Definition.module.css";

export function Definition({ resource }: { resource: ResourceRef }) {
  const query = useApi<ResourceDefinition>("resource-definition", { namespace: resource.namespace, type: resource.type, name: resource.name }, { interval: 30_000 });
  return (
    <Loaded query={query}>
      {({ yaml, file }) => (
        <>
          {file && <p className={styles.file}>From the manifest <code>{file}</code></p>}
          <pre className={styles.yaml} tabIndex={0} role="region" aria-label="Definition as YAML">{yaml}</pre>
        </>
      )}
    </Loaded>
  );
}
