// Extensions: which are installed, and how to install the others.
import { useApi } from "../api/queries";
import type { ExtensionItem } from "../api/types";
import { Empty, Loaded } from "../components/Loaded";
import { Page, Section } from "../components/Page";
import styles from "./ExtensionsPage.module.css";

export function ExtensionsPage() {
  const query = useApi<ExtensionItem[]>("extensions", {}, { interval: 30_000 });
  return (
    <Page title="Extensions" lead="A namespace with the label linkerd.io/extension is an extension." command={["weft", "check"]} rawCommand>
      <Section title="Extensions">
        <Loaded query={query}>
          {(items) => items.length === 0
            ? <Empty title="No extensions" />
            : (
              <ul className={styles.list}>
                {items.map((item) => (
                  <li key={item.name} className={styles.item}>
                    <div>
                      <h3>{item.name}</h3>
                      <p className={styles.description}>{item.description}</p>
                    </div>
                    {item.installed
                      ? <p className={styles.installed}>Installed{item.namespace ? ` in ${item.namespace}` : ""}{item.version ? `, ${item.version}` : ""}</p>
                      : item.install ? <code className={styles.install} title={item.install}>{item.install}</code> : <p>Not installed</p>}
                  </li>
                ))}
              </ul>
            )}
        </Loaded>
      </Section>
    </Page>
  );
}
