/** What the parts find each other by unless they are told otherwise: the ports of countersign.dev.yaml. */
export const DEFAULTS = {
  gateway: 'http://127.0.0.1:8080',
  control: 'http://127.0.0.1:8081',
  issuer: 'http://127.0.0.1:8082',
  upstream: 'http://127.0.0.1:8083',
} as const
