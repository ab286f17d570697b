// What is shown if a page fails, or if its file is gone because the server was upgraded.
import { useRouteError } from "react-router";
import { Empty } from "../components/Loaded";

export function Crashed() {
  const error = useRouteError();
  const gone = error instanceof TypeError && /import|module/i.test(error.message);
  return (
    <Empty title={gone ? "The dashboard was upgraded, or cannot be reached" : "This page failed"}>
      <p>{gone ? "Reload to load its new version." : String(error)}</p>
      <button type="button" onClick={() => window.location.reload()}>Reload</button>
    </Empty>
  );
}
