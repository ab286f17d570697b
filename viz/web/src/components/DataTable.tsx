// A table that sorts by its headers, keeps its order in the URL, and draws only the rows in view once there are many.
import { createSortedRowModel, rowSortingFeature, tableFeatures, useTable, type ColumnDef, type SortFn } from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef, type ReactNode } from "react";
import { useSearchParams } from "react-router";
import { compareValues, type SortValue } from "../format/compare";
import { useSetParams } from "../url/hooks";
import { readSort, writeSort, type Sort } from "../url/params";
import { useNarrow } from "../url/media";
import styles from "./DataTable.module.css";
import { HeaderCell } from "./HeaderCell";

export interface Column<T> {
  id: string;
  header: string;
  cell: (row: T) => ReactNode;
  /** What to sort by; a column without it is not sorted. Empty values come last. */
  sort?: (row: T) => SortValue;
  numeric?: boolean;
  /** Width in rem; the columns without one share what is left. */
  width?: number;
  /** Width on narrow screens, where there are no small charts. */
  narrowWidth?: number;
  /** Left out on narrow screens. */
  wideOnly?: boolean;
}

interface Props<T> {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  rowKey: (row: T) => string;
  initialSort: Sort;
  /** The URL's parameter for the order. */
  sortParam?: string;
}

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() });
const VIRTUAL_FROM = 80;
const ROW_PX = 46;

export function DataTable<T extends object>({ caption, columns, rows, rowKey, initialSort, sortParam = "sort" }: Props<T>) {
  const narrow = useNarrow();
  const [params] = useSearchParams();
  const setParams = useSetParams();
  const shown = useMemo(() => (narrow ? columns.filter((c) => !c.wideOnly).map((c) => ({ ...c, width: c.narrowWidth ?? c.width })) : columns), [columns, narrow]);
  const sort = readSort(params.get(sortParam), columns.map((c) => c.id), initialSort);
  const defs = useMemo(() => shown.map((column) => toDef(column)), [shown]);
  const table = useTable({
    features, columns: defs, data: rows, getRowId: rowKey, state: { sorting: [sort] },
    enableSortingRemoval: false, enableMultiSort: false,
  });
  const sorted = table.getRowModel().rows;
  const scroll = useRef<HTMLDivElement>(null);
  const virtual = sorted.length > VIRTUAL_FROM;
  // Its functions are used here only, and not passed on.
  // eslint-disable-next-line react-hooks/incompatible-library
  const virtualizer = useVirtualizer({
    count: virtual ? sorted.length : 0, getScrollElement: () => scroll.current, estimateSize: () => ROW_PX, overscan: 12,
  });
  const items = virtual ? virtualizer.getVirtualItems() : [];
  const visible = virtual ? items.map((item) => item.index) : sorted.map((_, i) => i);
  const before = items[0]?.start ?? 0;
  const after = virtual ? virtualizer.getTotalSize() - (items.at(-1)?.end ?? 0) : 0;

  const onSort = (id: string) => {
    const column = columns.find((c) => c.id === id);
    const desc = sort.id === id ? !sort.desc : Boolean(column?.numeric);
    setParams({ [sortParam]: writeSort({ id, desc }) }, { [sortParam]: writeSort(initialSort) });
  };
  const rowCells = (index: number) => {
    const row = sorted[index];
    if (!row) return null;
    return (
      <tr key={row.id} className={styles.row} aria-rowindex={virtual ? index + 2 : undefined}>
        {shown.map((column, i) => {
          const content = column.cell(row.original as T);
          const className = column.numeric ? styles.numeric : styles.text;
          return i === 0
            ? <th key={column.id} scope="row" className={`${styles.cell} ${styles.first} ${className}`}>{content}</th>
            : <td key={column.id} className={`${styles.cell} ${className}`}>{content}</td>;
        })}
      </tr>
    );
  };
  const spacer = (height: number) => height > 0 && <tr aria-hidden><td colSpan={shown.length} style={{ height, padding: 0 }} /></tr>;

  return (
    <div ref={scroll} className={`${styles.scroll} ${virtual ? styles.virtual : ""}`} tabIndex={0} role="group" aria-label={caption}>
      <table className={styles.table} style={{ minWidth: `${minWidth(shown, narrow ? 6 : 9)}rem` }} aria-rowcount={virtual ? sorted.length + 1 : undefined}>
        <caption className="visually-hidden">{caption}</caption>
        <colgroup>{shown.map((c) => <col key={c.id} style={c.width ? { width: `${c.width}rem` } : undefined} />)}</colgroup>
        <thead>
          <tr aria-rowindex={virtual ? 1 : undefined}>
            {shown.map((column, i) => (
              <HeaderCell key={column.id} label={column.header} numeric={Boolean(column.numeric)} sticky={i === 0}
                sort={sort.id === column.id ? (sort.desc ? "descending" : "ascending") : undefined}
                onSort={column.sort ? () => onSort(column.id) : undefined} />
            ))}
          </tr>
        </thead>
        <tbody>
          {spacer(before)}
          {visible.map(rowCells)}
          {spacer(after)}
        </tbody>
      </table>
    </div>
  );
}

type Features = typeof features;

function toDef<T extends object>(column: Column<T>): ColumnDef<Features, T> {
  const sort = column.sort;
  const sortFn: SortFn<Features, T> = (a, b, id) => compareValues(a.getValue(id), b.getValue(id));
  return {
    id: column.id, header: column.header, enableSorting: Boolean(sort), sortUndefined: "last", sortFn,
    accessorFn: (row: T) => sort?.(row) ?? undefined,
  } as ColumnDef<Features, T>;
}

function minWidth<T>(columns: Column<T>[], fallback: number): number {
  return columns.reduce((sum, column) => sum + (column.width ?? fallback), 0);
}
