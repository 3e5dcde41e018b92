// Written by web/scripts/finish.mjs.
&[
    PageFile {
        path: "/THIRD-PARTY.txt",
        content_type: "text/plain; charset=utf-8",
        identity: Some(include_bytes!("THIRD-PARTY.txt")),
        gzip: include_bytes!("THIRD-PARTY.txt.gz"),
        brotli: include_bytes!("THIRD-PARTY.txt.br"),
    },
    PageFile {
        path: "/assets/icon-CrThejfj.svg",
        content_type: "image/svg+xml",
        identity: None,
        gzip: include_bytes!("assets/icon-CrThejfj.svg.gz"),
        brotli: include_bytes!("assets/icon-CrThejfj.svg.br"),
    },
    PageFile {
        path: "/assets/index-BDTavC-H.css",
        content_type: "text/css; charset=utf-8",
        identity: None,
        gzip: include_bytes!("assets/index-BDTavC-H.css.gz"),
        brotli: include_bytes!("assets/index-BDTavC-H.css.br"),
    },
    PageFile {
        path: "/assets/index-Ij9pSEAS.js",
        content_type: "text/javascript; charset=utf-8",
        identity: None,
        gzip: include_bytes!("assets/index-Ij9pSEAS.js.gz"),
        brotli: include_bytes!("assets/index-Ij9pSEAS.js.br"),
    },
    PageFile {
        path: "/",
        content_type: "text/html; charset=utf-8",
        identity: Some(include_bytes!("index.html")),
        gzip: include_bytes!("index.html.gz"),
        brotli: include_bytes!("index.html.br"),
    },
]
