import { defineConfig } from 'vite';

// The page may be reached through a proxy under a name such as
// `3000-box.localhost`. Vite answers only to names it knows, so the whole
// `.localhost` family is listed. No `hmr` section on purpose: the browser then
// opens the hot-reload socket at the address it loaded the page from, which is
// the right one both directly and behind a proxy that forwards WebSockets.
const allowedHosts = ['.localhost'];

export default defineConfig({
  server: { host: '127.0.0.1', port: 3000, strictPort: true, allowedHosts },
  preview: { host: '127.0.0.1', port: 4173, strictPort: true, allowedHosts },
  build: { outDir: 'dist' },
});
