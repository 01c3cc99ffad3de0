# glibc: the packages that bring Node and Postgres have no musl builds. The image uses its own Node and a Postgres
# elsewhere (store.url), so it leaves those packages out.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional

# The demo's identity provider, upstream and agent. Its dependencies are for development, as the demo is.
FROM node:24-slim AS demo
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=optional
COPY src src
USER node
ENTRYPOINT ["node", "src/demo/main.ts"]

FROM node:24-slim AS gateway
WORKDIR /app
ENV NODE_ENV=production
# data_dir: a volume that is mounted here is the gateway's to write to.
RUN mkdir /var/lib/countersign && chown node:node /var/lib/countersign
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE ./
COPY src src
COPY migrations migrations
USER node
EXPOSE 8080 8081 9464
# For a gateway that listens elsewhere, or ends TLS itself, say another one.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:8080/livez').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "src/main.ts"]
CMD ["serve", "--config", "/etc/countersign/countersign.yaml"]
