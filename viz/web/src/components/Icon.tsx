// The few icons, drawn as lines in the colour of the text.
const PATHS = {
  problems: "M12 3 2.8 19.5h18.4L12 3Zm0 6.5v4.5m0 2.6v.2",
  topology: "M5 6.5h4v4H5zM15 4h4v4h-4zM15 16h4v4h-4zM9 8.5h3c1.5 0 1.5-2.5 3-2.5M9 8.5h1c3.5 0 2 9.5 5 9.5",
  namespaces: "M4 5h7v6H4zM13 5h7v6h-7zM4 13h7v6H4zM13 13h7v6h-7z",
  control: "M4 6h16M4 12h16M4 18h16M8 4v4M15 10v4M10 16v4",
  workloads: "M12 3l8 4.5v9L12 21l-8-4.5v-9L12 3Zm0 9l8-4.5M12 12v9M12 12L4 7.5",
  tap: "M3 12h4l2.5-7 5 14 2.5-7h4",
  top: "M4 6h16M4 11h11M4 16h7M4 20h4",
  routes: "M6 4v5c0 4 12 3 12 8v3M6 4 3.5 7M6 4l2.5 3M18 20l-2.5-3M18 20l2.5-3",
  extensions: "M10 4h4v3h5v5h-3v3h3v5H5v-5h3v-3H5V7h5z",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13Zm5 11.5L20 20",
  menu: "M4 7h16M4 12h16M4 17h16",
  close: "M6 6l12 12M18 6 6 18",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8Zm0-5v2m0 14v2M3 12h2m14 0h2M5.6 5.6 7 7m10 10 1.4 1.4m0-12.8L17 7M7 17l-1.4 1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z",
  system: "M4 5h16v11H4zM9 20h6M12 16v4",
  pause: "M8 5v14M16 5v14",
  play: "M7 5l11 7-11 7z",
  copy: "M9 9h10v11H9zM6 15H5V4h10v2",
  check: "M5 12.5 10 17 19 7",
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  unlock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 6.8-1.2",
  arrow: "M5 12h14M13 6l6 6-6 6",
  grafana: "M4 19V5m0 14h16M8 15l4-5 3 3 4-6",
  down: "M6 9l6 6 6-6",
  expand: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18, title }: { name: IconName; size?: number; title?: string }) {
  return (
    <svg width={size} height={size} viewBox="0 0 24 24" fill="none" stroke="currentColor" strokeWidth={1.8}
      strokeLinecap="round" strokeLinejoin="round" role={title ? "img" : undefined} aria-label={title}
      aria-hidden={title ? undefined : true} focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Logo({ size = 26 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden focusable="false">
      <rect width="32" height="32" rx="8" fill="#1c4f52" />
      <g fill="none" strokeWidth="3" strokeLinecap="round">
        <path d="M9 6v20M16 6v20M23 6v20" stroke="#7fb8b0" />
        <path d="M6 11h5m10 0h5M13 11h6M6 21h13m4 0h3" stroke="#f3c98b" />
      </g>
    </svg>
  );
}
