// Which page answers which address. All but the first page are loaded when they are first opened.
import { createBrowserRouter, type RouteObject } from "react-router";
import { Overview } from "../pages/Overview";
import { NotFound } from "../pages/NotFound";
import { Crashed } from "./Crashed";
import { Loading } from "../components/Loaded";
import { Layout } from "./Layout";

type Module = Record<string, React.ComponentType>;

function page(path: string, load: () => Promise<Module>, name: string): RouteObject {
  return { path, lazy: async () => ({ Component: (await load())[name] }) };
}

const namespaces = () => import("../pages/Namespaces") as Promise<Module>;
const workloads = () => import("../pages/Workloads") as Promise<Module>;

export const router = createBrowserRouter([
  {
    element: <Layout />,
    errorElement: <Crashed />,
    hydrateFallbackElement: <Loading rows={6} />,
    children: [
      {
        errorElement: <Crashed />,
        children: [
          { index: true, element: <Overview /> },
          page("topology", () => import("../pages/TopologyPage") as Promise<Module>, "TopologyPage"),
          page("namespaces", namespaces, "Namespaces"),
          page("namespaces/:namespace", () => import("../pages/Namespace") as Promise<Module>, "Namespace"),
          page("namespaces/:namespace/:types", workloads, "Workloads"),
          page("namespaces/:namespace/:types/:name", () => import("../pages/ResourcePage") as Promise<Module>, "ResourcePage"),
          page("workloads", workloads, "Workloads"),
          page("workloads/:types", workloads, "Workloads"),
          page("controlplane", () => import("../pages/ControlPlanePage") as Promise<Module>, "ControlPlanePage"),
          page("tap", () => import("../pages/TapPage") as Promise<Module>, "TapPage"),
          page("top", () => import("../pages/TopPage") as Promise<Module>, "TopPage"),
          page("routes", () => import("../pages/RoutesPage") as Promise<Module>, "RoutesPage"),
          page("extensions", () => import("../pages/ExtensionsPage") as Promise<Module>, "ExtensionsPage"),
          { path: "*", element: <NotFound /> },
        ],
      },
    ],
  },
]);
