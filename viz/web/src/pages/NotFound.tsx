// An address that no page has.
import { Link } from "react-router";
import { Empty } from "../components/Loaded";
import { Page } from "../components/Page";

export function NotFound() {
  return (
    <Page title="No such page">
      <Empty title="Nothing is here"><Link to="/">Back to the problems</Link></Empty>
    </Page>
  );
}
