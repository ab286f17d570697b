// The bar above every page: menu, search, time range, pause, colours.
import { useEffect, useState } from "react";
import { setPaused, usePaused } from "../api/live";
import { Icon, Logo, type IconName } from "../components/Icon";
import { setTheme, useTheme, type Theme } from "../theme/theme";
import { QuickSearch } from "./QuickSearch";
import { TimeRange } from "./TimeRange";
import styles from "./TopBar.module.css";

export function TopBar({ onMenu }: { onMenu: () => void }) {
  const [searching, setSearching] = useState(false);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const typing = event.target instanceof Element && event.target.closest("input, select, textarea, dialog");
      if ((event.key === "k" && (event.ctrlKey || event.metaKey)) || (event.key === "/" && !typing)) {
        event.preventDefault();
        setSearching(true);
      }
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
  return (
    <header className={styles.bar}>
      <button type="button" className={`${styles.icon} ${styles.menu}`} aria-label="Open navigation" onClick={onMenu}><Icon name="menu" size={20} /></button>
      <span className={styles.logo}><Logo size={22} /></span>
      <button type="button" className={styles.search} onClick={() => setSearching(true)} aria-label="Search resources" aria-keyshortcuts="/ Control+K">
        <Icon name="search" size={17} /><span className={styles.searchText}>Search</span><kbd className={styles.kbd}>/</kbd>
      </button>
      <div className={styles.right}>
        <TimeRange />
        <PauseButton />
        <ThemeButton />
      </div>
      {searching && <QuickSearch onClose={() => setSearching(false)} />}
    </header>
  );
}

function PauseButton() {
  const paused = usePaused();
  const label = paused ? "Updates are paused: resume" : "Pause updates";
  return (
    <button type="button" className={paused ? styles.paused : styles.icon} aria-label={label} title={label} onClick={() => setPaused(!paused)}>
      <Icon name={paused ? "play" : "pause"} />
    </button>
  );
}

const NEXT: Record<Theme, Theme> = { system: "dark", dark: "light", light: "system" };
const ICONS: Record<Theme, IconName> = { system: "system", dark: "moon", light: "sun" };

function ThemeButton() {
  const theme = useTheme();
  const label = `Colours: ${theme}. Change to ${NEXT[theme]}`;
  return (
    <button type="button" className={styles.icon} aria-label={label} title={label} onClick={() => setTheme(NEXT[theme])}>
      <Icon name={ICONS[theme]} />
    </button>
  );
}
