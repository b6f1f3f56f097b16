// A real OpenID provider for the tests: node server.mjs '<json of clients, accounts, redirect addresses>'
// It prints its issuer once it listens. Each account is {sub, claims}; its password is anything.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const order = JSON.parse(process.argv[2]);
const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: order.clients,
    cookies: { keys: ["only for tests"] },
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
    // As Google, Auth0, Keycloak and Entra do: the claims are in the ID token.
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...order.accounts[id] }) }),
    pkce: { required: () => true },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
process.on("SIGTERM", () => process.exit(0));
