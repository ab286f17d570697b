// The navigation: the mesh, its workloads, the tools.
import { Fragment } from "react";
import { NavLink, useNavigate, useParams } from "react-router";
import { useApi } from "../api/queries";
import type { Overview, StatRow, VersionInfo } from "../api/types";
import { Icon, Logo, type IconName } from "../components/Icon";
import { useTo } from "../url/hooks";
import styles from "./Navigation.module.css";

type Item = [path: string, label: string, icon: IconName];
const GROUPS: [title: string | null, items: Item[]][] = [
  [null, [["/", "Problems", "problems"], ["/topology", "Topology", "topology"], ["/namespaces", "Namespaces", "namespaces"],
    ["/workloads", "Workloads", "workloads"], ["/controlplane", "Control plane", "control"]]],
  ["Tools", [["/tap", "Tap", "tap"], ["/top", "Top", "top"], ["/routes", "Routes", "routes"]]],
  ["More", [["/extensions", "Extensions", "extensions"]]],
];

export function Navigation({ onClose }: { onClose?: () => void }) {
  const to = useTo();
  const version = useApi<VersionInfo>("version", {}, { interval: 60_000 });
  const overview = useApi<Overview>("overview", {}, { interval: 15_000 });
  const problems = overview.data?.data.problems.length ?? 0;
  return (
    <nav className={styles.nav} aria-label="Main">
      <div className={styles.brand}>
        <Logo />
        <span className={styles.name}>weft</span>
        {onClose && <button type="button" className={styles.close} aria-label="Close navigation" onClick={onClose}><Icon name="close" /></button>}
      </div>
      <NamespacePicker />
      {GROUPS.map(([title, items]) => (
        <Fragment key={title}>
          {title && <h2 className={styles.group}>{title}</h2>}
          <ul className={styles.list}>
            {items.map(([path, label, icon]) => (
              <li key={path}>
                <NavLink to={to(path)} end={path === "/"} className={({ isActive }) => (isActive ? styles.active : styles.item)}>
                  <Icon name={icon} />
                  <span>{label}</span>
                  {path === "/" && problems > 0 && <span className={styles.badge} aria-label={`: ${problems} problems`}>{problems}</span>}
                </NavLink>
              </li>
            ))}
          </ul>
        </Fragment>
      ))}
      <p className={styles.version}>
        {version.data ? `weft ${version.data.data.version}` : ""}
        {version.data?.data.source === "manifests" && <span>from manifests, without Kubernetes</span>}
      </p>
    </nav>
  );
}

function NamespacePicker() {
  const { namespace = "" } = useParams();
  const navigate = useNavigate();
  const to = useTo();
  const rows = useApi<StatRow[]>("tps-reports", { type: "namespace" });
  const names = rows.data?.data.map((row) => row.name).sort() ?? [];
  if (namespace && !names.includes(namespace)) names.unshift(namespace);
  return (
    <label className={styles.picker}>
      <span className={styles.pickerLabel}>Namespace</span>
      <select value={namespace} onChange={(event) => void navigate(to(event.target.value ? `/namespaces/${encodeURIComponent(event.target.value)}` : "/namespaces"))}>
        <option value="">All namespaces</option>
        {names.map((name) => <option key={name} value={name}>{name}</option>)}
      </select>
    </label>
  );
}
