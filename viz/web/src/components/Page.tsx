// The frame of a page and its sections: heading, what belongs beside it, the equivalent command.
import { useEffect, type ReactNode } from "react";
import { CliCommand } from "./CliCommand";
import styles from "./Page.module.css";

interface PageProps {
  title: string;
  /** What stands above the title, for example the way to this page. */
  above?: ReactNode;
  lead?: ReactNode;
  aside?: ReactNode;
  command?: string[];
  rawCommand?: boolean;
  children: ReactNode;
}

export function Page({ title, above, lead, aside, command, rawCommand, children }: PageProps) {
  useEffect(() => {
    document.title = `${title} · weft`;
  }, [title]);
  return (
    <div className={styles.page}>
      <header className={styles.head}>
        <div className={styles.titles}>
          {above && <div className={styles.above}>{above}</div>}
          <h1 className={styles.title} title={title} tabIndex={-1}>{title}</h1>
          {lead && <p className={styles.lead}>{lead}</p>}
        </div>
        {aside && <div className={styles.aside}>{aside}</div>}
      </header>
      {children}
      {command && (
        <footer className={styles.foot}>
          <span className={styles.footLabel}>In a terminal</span>
          <CliCommand words={command} raw={rawCommand} />
        </footer>
      )}
    </div>
  );
}

interface SectionProps {
  title: string;
  lead?: ReactNode;
  aside?: ReactNode;
  children: ReactNode;
}

export function Section({ title, lead, aside, children }: SectionProps) {
  const id = `section-${title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}`;
  return (
    <section className={styles.section} aria-labelledby={id}>
      <div className={styles.sectionHead}>
        <div>
          <h2 id={id}>{title}</h2>
          {lead && <p className={styles.sectionLead}>{lead}</p>}
        </div>
        {aside}
      </div>
      {children}
    </section>
  );
}
