import "../styles/base.css";
import "./console.css";
import "../model/theme.js";
import { render } from "preact";
import { App } from "./ui/App.js";

render(<App />, document.getElementById("app") as HTMLElement);
