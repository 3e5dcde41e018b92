import "./styles/base.css";
import "./styles/layout.css";
import "./styles/chat.css";
import "./model/theme.js";
import { render } from "preact";
import { App } from "./ui/App.js";

render(<App />, document.getElementById("app") as HTMLElement);
