// The frame of all pages: navigation, bar, page.
import { useEffect, useRef, useState } from "react";
import { Outlet, useLocation, useNavigation } from "react-router";
import { ConnectionBanner } from "./ConnectionBanner";
import styles from "./Layout.module.css";
import { Navigation } from "./Navigation";
import { Notices } from "./Notices";
import { TopBar } from "./TopBar";

export function Layout() {
  const menu = useRef<HTMLDialogElement>(null);
  const main = useRef<HTMLElement>(null);
  const { pathname } = useLocation();
  // The page at which the menu was opened: it closes when another page is reached.
  const [menuAt, setMenuAt] = useState<string | null>(null);
  const menuOpen = menuAt === pathname;
  const loading = useNavigation().state !== "idle";
  const first = useRef(true);

  // After a navigation, a keyboard or screen-reader user starts at the new page, not at the link that is gone.
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    window.scrollTo(0, 0);
    main.current?.focus({ preventScroll: true });
  }, [pathname]);

  useEffect(() => {
    if (menuOpen) menu.current?.showModal();
    else menu.current?.close();
  }, [menuOpen]);

  return (
    <div className={styles.layout}>
      <a className={styles.skip} href="#main">Skip to the page</a>
      <div className={styles.sidebar}><Navigation /></div>
      <dialog ref={menu} className={styles.drawer} aria-label="Navigation" onClose={() => setMenuAt(null)}
        onClick={(event) => event.target === menu.current && setMenuAt(null)}>
        {menuOpen && <Navigation onClose={() => setMenuAt(null)} />}
      </dialog>
      <div className={styles.column}>
        <TopBar onMenu={() => setMenuAt(pathname)} />
        <div className={loading ? styles.progress : styles.noProgress} aria-hidden />
        <ConnectionBanner />
        <Notices />
        <main id="main" ref={main} tabIndex={-1} className={styles.main}>
          <Outlet />
        </main>
      </div>
    </div>
  );
}
